import numpy as np
from PIL import Image

from frih.data.images import read_rgb
from frih.tools.report.thumbnails import SCALE, SIDE, Thumbnails, error_colors, error_map
from tests.evaluation.helpers import stages


def test_stages_are_stored_in_order_with_their_errors(tmp_path):
    thumbnails = Thumbnails(tmp_path)
    thumbnails.add("A", "a b.1.jpg", stages())
    assert thumbnails.stages("A", "a b.1.jpg") == ["composite", "mask", "submasks", "refined", "real"]
    names = {path.name for path in (tmp_path / "images/A").iterdir()}
    photos = ("composite", "refined", "real", "composite-error", "refined-error")
    flat = ("mask", "submasks")
    assert names == {*(f"a b.1.jpg.{kind}.jpg" for kind in photos), *(f"a b.1.jpg.{kind}.webp" for kind in flat)}
    assert thumbnails.stages("A", "another.jpg") == []


def test_masks_and_submasks_keep_their_values_and_photos_their_colours(tmp_path):
    thumbnails, images = Thumbnails(tmp_path), stages()
    images["real"] = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    thumbnails.add("A", "x.jpg", images)
    read = {kind: read_rgb(thumbnails.path("A", "x.jpg", kind)) for kind in images}
    assert (read["mask"] == images["mask"][..., None]).all()
    assert (read["submasks"] == images["submasks"]).all()
    assert np.abs(read["real"].astype(int) - images["real"]).max() <= 5


def test_large_images_become_small_and_keep_their_form(tmp_path):
    large = {name: np.zeros((300, 900, 3), np.uint8) for name in ("composite", "real")}
    Thumbnails(tmp_path).add("A", "x.jpg", large)
    with Image.open(Thumbnails(tmp_path).path("A", "x.jpg", "composite")) as image:
        assert image.size == (SIDE, round(SIDE / 3))


def test_a_second_time_replaces_the_first_and_what_it_no_longer_has(tmp_path):
    thumbnails, first = Thumbnails(tmp_path), stages()
    thumbnails.add("A", "x.jpg", {**first, "coarse": first["real"]})
    thumbnails.add("A", "x.jpg", stages(1))
    assert thumbnails.stages("A", "x.jpg") == ["composite", "mask", "submasks", "refined", "real"]
    assert not thumbnails.path("A", "x.jpg", "coarse-error").exists()


def test_error_maps_have_one_scale():
    real = np.zeros((1, 4, 3), np.uint8)
    image = real.copy()
    image[0, 1] = SCALE // 2
    image[0, 2] = SCALE
    image[0, 3] = (255, 0, 0)  # the root of 255²/3 is 147 levels
    colors = error_colors()
    expected = [colors[0], colors[128], colors[255], colors[255]]
    assert np.abs(error_map(image, real)[0].astype(int) - expected).max() <= 4
    assert colors[0].sum() < 20
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    noise[1] = noise[0] // 2 + noise[1] // 8
    levels = np.sqrt(np.square(noise[0].astype(float) - noise[1]).mean(axis=2))
    assert (error_map(*noise) == colors[np.rint(levels * 255 / SCALE).clip(0, 255).astype(int)]).all()
    assert (np.diff(colors @ np.array([0.2126, 0.7152, 0.0722])) >= -0.5).all()  # ever brighter
