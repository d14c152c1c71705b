"""``frih harmonize`` as a user runs it."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih import Harmonizer
from frih.cli import main
from frih.harmonizing.harmonizer import PRETRAINED
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.sharing.hub import save_pretrained
from tests.conftest import ellipse, no_weight_is_zero, save, smooth_image


@pytest.fixture
def place(tmp_path, small_config, monkeypatch):
    """A folder with weights, three images and their masks; the weights are the default ones."""
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    monkeypatch.setenv("FRIH_WEIGHTS", str(tmp_path / "model.pt"))
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.tif")):
        save(tmp_path / "images" / name, smooth_image(seed=number, width=60, height=50))
        save(tmp_path / "masks" / f"{name[0]}.png", ellipse(60, 50, grow=3))
    return tmp_path


@pytest.fixture
def frih(monkeypatch, capsys):
    """Runs the command in this process: its exit status, what it says, and the errors it tells."""

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["frih", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code, out, [line[7:] for line in err.splitlines() if line.startswith("error: ")]

    return run


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_image(place, frih):
    image, mask = place / "images/a.png", place / "masks/a.png"
    status, said, errors = frih("harmonize", image, mask, "-o", place / "out.png")
    assert (status, errors) == (0, [])
    assert said == f"1 of 1 harmonized, in {place / 'out.png'}\n"
    expected = np.asarray(Harmonizer.load(place / "model.pt", "cpu")(image, mask))
    assert np.array_equal(pixels(place / "out.png"), expected)
    frih("harmonize", image, mask, "-o", place / "new/half", "--strength", 0.5, "-w", place / "model.pt")
    half = pixels(place / "new/half/a.png")
    assert np.abs(half - (pixels(image) / 2 + expected / 2)).max() <= 1


def test_a_folder_its_formats_and_what_is_there_already(place, frih):
    status, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert status == 0
    assert said.startswith("3 of 3 harmonized")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.png", "b.jpg", "c.tif"]
    assert np.array_equal(pixels(place / "out/c.tif")[0], pixels(place / "images/c.tif")[0])
    (place / "out/a.png").write_bytes(b"precious")
    (place / "out/b.jpg").unlink()
    _, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out")
    assert "1 of 3 harmonized" in said
    assert "2 more exist already" in said
    assert (place / "out/a.png").read_bytes() == b"precious"
    _, said, _ = frih("harmonize", place / "images", place / "masks", "-o", place / "out", "--overwrite")
    assert said.startswith("3 of 3 harmonized")
    assert pixels(place / "out/a.png").shape == (50, 60, 3)


def test_patterns_and_suffixes(place, frih):
    status, said, _ = frih(
        "harmonize", place / "images/[ab].*", place / "masks/*.png", "-o", place / "out", "--suffix", ".webp"
    )
    assert status == 0
    assert said.startswith("2 of 2")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.webp", "b.webp"]
    background = ellipse(60, 50, grow=3) == 0
    assert np.array_equal(pixels(place / "out/b.webp")[background], pixels(place / "images/b.jpg")[background])


def test_sheets(place, frih):
    frih("harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "o.png", "--submasks", "--compare")
    assert pixels(place / "o-submasks.png").shape == (50, 60, 3)
    assert pixels(place / "o-compare.png").shape[1] > 4 * 60


def test_metadata_and_profile_are_in_the_file(place, frih):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", 6
    turned = np.rot90(smooth_image(seed=0, width=60, height=50))
    Image.fromarray(turned).save(place / "p.jpg", exif=exif, icc_profile=b"profile", dpi=(300, 300))
    for name in ("out.jpg", "out.png", "out.webp", "out.tif"):
        assert frih("harmonize", place / "p.jpg", place / "masks/a.png", "-o", place / name)[0] == 0
        with Image.open(place / name) as result:
            assert result.size == (60, 50)
            assert result.info["icc_profile"] == b"profile"
            assert result.getexif()[0x010F] == "maker"
            assert result.getexif().get(0x0112, 1) == 1


def test_a_folder_goes_on_and_ends_with_a_list(place, frih):
    images, masks = place / "images", place / "masks"
    wrong = {
        "black": (np.full((40, 50, 3), 9, np.uint8), np.zeros((40, 50), np.uint8), "black.png: has no foreground"),
        "grey": (np.full((40, 50), 9, np.uint8), np.full((40, 50), 255, np.uint8), "grey.png: is greyscale"),
        "size": (np.full((40, 50, 3), 9, np.uint8), np.full((9, 9), 255, np.uint8), "size.png: is 9 x 9 pixels but"),
        "half": (np.full((40, 50, 3), 9, np.uint8), np.full((40, 50), 255, np.uint8), "half.png: cannot be read"),
        "moving": (None, np.full((40, 50), 255, np.uint8), "moving.gif: holds 2 images"),
        "lone": (np.full((40, 50, 3), 9, np.uint8), None, "has no mask for lone.png"),
    }
    for name, (image, mask, _) in wrong.items():
        if image is not None:
            save(images / f"{name}.png", image)
        if mask is not None:
            save(masks / f"{name}.png", mask)
    frames = [Image.new("RGB", (50, 40), colour) for colour in ("red", "blue")]
    frames[0].save(images / "moving.gif", save_all=True, append_images=frames[1:])
    (images / "half.png").write_bytes((images / "half.png").read_bytes()[:60])
    status, said, errors = frih("harmonize", images, masks, "-o", place / "out")
    assert status == 2
    assert said.startswith("3 of 9 harmonized")
    assert sorted(path.name for path in (place / "out").iterdir()) == ["a.png", "b.jpg", "c.tif"]
    assert len(errors) == len(wrong)
    for *_, message in wrong.values():
        assert sum(message in error for error in errors) == 1


def test_a_image_is_not_replaced_by_its_result_unless_asked(place, frih):
    image, mask = place / "images/a.png", place / "masks/a.png"
    before = image.read_bytes()
    for out in (image, place / "images"):
        status, _, errors = frih("harmonize", image, mask, "-o", out)
        assert status == 2
        assert errors == [f"{image}: is the image itself; give another place with -o, or --overwrite"]
    assert image.read_bytes() == before
    assert frih("harmonize", image, mask, "-o", image, "--overwrite")[0] == 0
    assert image.read_bytes() != before


def test_nothing_half_written(place, frih, full_disk):
    full_disk(lambda path: "out" in path.parts)
    status, _, errors = frih("harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "out")
    assert status == 2
    assert "No space left" in errors[0]
    assert list((place / "out").iterdir()) == []


def test_command_lines_that_make_no_sense(place, frih, monkeypatch):
    image, mask = place / "images/a.png", place / "masks/a.png"
    (place / "file").write_text("")
    save(place / "images/a.bmp", smooth_image(seed=0, width=60, height=50))
    for arguments, says in (
        ((image, place / "masks", "-o", "out"), "give two files, or two folders"),
        ((place / "masks/*.none", place / "masks", "-o", "out"), "holds no image"),
        ((place / "images", place / "masks", "-o", "out.png"), "is one file for 4 images; give a folder"),
        ((image, mask, "-o", "out.heic"), "-o out.heic: its format is unknown"),
        ((image, mask, "-o", "out", "--strength", "2"), "--strength: must be from 0"),
        ((image, mask, "-o", "out", "-w", "nothing"), "nothing: no such run folder or checkpoint"),
        ((image, mask, "-o", place / "file/out.png"), f"-o: {place / 'file'} is a file, not a folder"),
        ((place / "images", place / "masks", "-o", place / "file"), f"-o: {place / 'file'} is a file, not a folder"),
        ((place / "none.png", mask, "-o", "out"), "none.png: no such file"),
        ((place / "images", place / "masks", "-o", "out", "--suffix", ".png"), "would both become out/a.png"),
    ):
        status, _, errors = frih("harmonize", *arguments)
        assert status == 2
        assert len(errors) == 1
        assert says in errors[0]


def test_without_a_word_the_softwares_own_weights_are_taken(place, frih, monkeypatch):
    monkeypatch.setenv("FRIH_WEIGHTS", "")
    image, mask = place / "images/a.png", place / "masks/a.png"
    assert frih("harmonize", image, mask, "-o", place / "out.png")[0] == 0
    assert np.array_equal(pixels(place / "out.png"), harmonized(PRETRAINED, image, mask))


def test_hostile_weights_are_not_run(place, frih):
    class Hostile:
        def __reduce__(self):
            return Path.touch, (place / "ran",)

    (place / "hostile.pt").write_bytes(pickle.dumps(Hostile()))
    status, _, errors = frih(
        "harmonize", place / "images/a.png", place / "masks/a.png", "-o", place / "o.png", "-w", place / "hostile.pt"
    )
    assert status == 2
    assert "hostile.pt: is damaged, incomplete or no checkpoint" in errors[0]
    assert not (place / "ran").exists()


def test_a_folder_that_cannot_be_written_in_is_told_before_any_work(place, frih, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, _: path != place)
    monkeypatch.setattr("frih.Harmonizer.load", lambda *_: pytest.fail("at work"))
    status, _, errors = frih("harmonize", place / "images", place / "masks", "-o", place / "new/out")
    assert status == 2
    assert errors == [f"-o: {place} cannot be written; change its permissions, or give another place"]


@pytest.mark.parametrize("form", ["run", "run/checkpoints/last.pt", "shared", "shared/model.safetensors"])
def test_weights_in_every_form(place, frih, form):
    (place / "run/checkpoints").mkdir(parents=True)
    (place / "model.pt").rename(place / "run/checkpoints/last.pt")
    save_pretrained(place / "run", place / "shared")
    image, mask = place / "images/a.png", place / "masks/a.png"
    assert frih("harmonize", image, mask, "-o", place / "out.png", "-w", place / form)[0] == 0
    assert np.array_equal(pixels(place / "out.png"), harmonized(place / "run", image, mask))


def harmonized(weights, image, mask):
    return np.asarray(Harmonizer.load(weights, "cpu")(image, mask))
