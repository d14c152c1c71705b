"""``frih paste`` as a user runs it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih import Harmonizer
from frih.cli import main
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from tests.conftest import ellipse, no_weight_is_zero, save, smooth_image


@pytest.fixture
def place(tmp_path, small_config, monkeypatch):
    """A folder with weights, a cut-out of 40 x 30 pixels whose foreground is an ellipse, and a background."""
    config = small_config()
    save_checkpoint(tmp_path / "model.pt", config, no_weight_is_zero(build_model(config)), {})
    monkeypatch.setenv("FRIH_WEIGHTS", str(tmp_path / "model.pt"))
    photo, mask = smooth_image(seed=0, width=40, height=30), ellipse(40, 30, grow=3)
    save(tmp_path / "photo.jpg", photo)
    save(tmp_path / "mask.png", mask)
    save(tmp_path / "cutout.png", np.dstack([photo, mask]))
    save(tmp_path / "background.jpg", smooth_image(seed=1, width=90, height=70))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def paste(monkeypatch, capsys):
    """Runs the command in this process: its exit status, and what it says on stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["frih", "paste", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_composite_its_mask_and_both_harmonized(place, paste):
    options = "--harmonize", "--compare", "--at", "45.5,35.5"
    status, said, told = paste("cutout.png", "background.jpg", "-o", "out.png", *options)
    assert status == 0
    assert "note" not in told
    lines = said.splitlines()
    names = ["out.png", "out-mask.png", "out-harmonized.png", "out-compare.png"]
    assert [line.split(":")[0] for line in lines] == names
    assert lines[0] == "out.png: foreground of 25 x 19 pixels, --at 45.5,35.5 --scale 1"
    assert "submask" in lines[2]
    mask, there = np.zeros((70, 90), np.uint8), np.s_[20:50, 25:65]
    mask[there] = ellipse(40, 30, grow=3)
    assert np.array_equal(pixels("out-mask.png"), mask)
    composite, background, cutout = (pixels(name) for name in ("out.png", "background.jpg", "cutout.png"))
    assert np.array_equal(composite[mask == 0], background[mask == 0])
    whole = mask[there] == 255
    assert np.array_equal(composite[there][whole], cutout[whole, :3])
    harmonized = pixels("out-harmonized.png")
    assert np.array_equal(harmonized, np.asarray(Harmonizer.load("model.pt", "cpu")("out.png", "out-mask.png")))
    sheet = pixels("out-compare.png")
    assert np.array_equal(sheet[-76:-6, 6:96], composite)
    assert np.array_equal(sheet[-76:-6, 102:192], harmonized)


def test_a_photo_with_a_mask_of_another_size(place, paste):
    """A mask of the same shape is resized, and both are turned upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open("photo.jpg") as photo, Image.open("mask.png") as mask:
        photo.rotate(90, expand=True).save("turned.png", exif=exif)
        mask.resize((20, 15)).save("small.png")
        Image.eval(mask, lambda value: 255 - value).save("black.png")
    assert paste("turned.png", "background.jpg", "--mask", "mask.png", "-o", "a.png")[0] == 0
    status, _, told = paste("turned.png", "background.jpg", "--mask", "small.png", "-o", "b.png")
    assert (status, told) == (0, "note: small.png: resized from 20 x 15 to 40 x 30, the size of its image\n")
    assert paste("photo.jpg", "background.jpg", "--mask", "black.png", "--invert-mask", "-o", "c.png")[0] == 0
    assert np.array_equal(pixels("a-mask.png"), pixels("c-mask.png"))
    assert np.abs(pixels("a.png").astype(int) - pixels("c.png")).max() <= 1
    assert np.abs(pixels("a-mask.png").astype(int) - pixels("b-mask.png")).mean() < 5


def test_the_mask_of_a_cutout_takes_from_its_alpha(place, paste):
    save(place / "left.png", np.tile(np.array([255] * 20 + [0] * 20, np.uint8), (30, 1)))
    assert paste("cutout.png", "background.jpg", "--mask", "left.png", "-o", "a.png")[0] == 0
    assert paste("cutout.png", "background.jpg", "-o", "b.png", "--at=-10%,40")[0] == 0
    assert (pixels("a-mask.png") > 0).sum() == (ellipse(40, 30, grow=3)[:, :20] > 0).sum()


def test_folders_and_what_is_cut_off(place, paste):
    """A value that begins with a minus is no option."""
    status, said, told = paste("cutout.png", "background.jpg", "-o", "new/folder", "--at", "-5,35", "--scale", "1.5")
    assert status == 0
    assert said.startswith("new/folder/cutout-on-background.jpg: foreground of ")
    assert told.startswith("note: new/folder/cutout-on-background.jpg: 6")
    assert told.endswith(" % of the foreground is outside of the background, and cut off\n")
    assert pixels("new/folder/cutout-on-background-mask.png").shape == (70, 90)


def test_files_that_exist_are_kept_and_inputs_always(place, paste):
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    (place / "out-mask.png").write_bytes(b"precious")
    assert paste("cutout.png", "background.jpg", "-o", "out.png")[::2] == (
        2,
        "error: out-mask.png: is there already; --overwrite replaces it, or give another place with -o\n",
    )
    assert not (place / "out.png").exists()
    assert paste("cutout.png", "background.jpg", "-o", "out.png", "--overwrite")[0] == 0
    for mask, out in (("mask.png", "cutout.png"), ("mask.png", "background.jpg"), ("mask.png", "mask.png")):
        status, _, told = paste("cutout.png", "background.jpg", "--mask", mask, "-o", out, "--overwrite")
        assert (status, told) == (
            2,
            f"error: {out}: is an image or a mask that is to be read; give another place with -o\n",
        )
    (place / "mask.png").rename("x-mask.png")
    assert paste("photo.jpg", "background.jpg", "--mask", "x-mask.png", "-o", "x.png", "--overwrite")[0] == 2
    (place / "x-mask.png").rename("mask.png")
    assert all((place / name).read_bytes() == content for name, content in before.items())


def test_what_makes_no_sense(place, paste, monkeypatch):
    photo, mask = smooth_image(seed=0, width=40, height=30), ellipse(40, 30, grow=3)
    save(place / "empty.png", np.dstack([photo, 0 * mask]))
    save(place / "opaque.png", np.dstack([photo, 0 * mask + 255]))
    save(place / "faint.png", np.dstack([photo, mask // 3]))
    save(place / "black.png", 0 * mask)
    save(place / "wide.png", np.full((30, 90), 255, np.uint8))
    Image.fromarray(photo).convert("CMYK").save("cmyk.jpg")
    Image.fromarray(mask).save("grey.png")
    monkeypatch.setattr(Harmonizer, "load", lambda *_: pytest.fail("at work"))
    for arguments, says in (
        (("empty.png",), "empty.png: no pixel is at least half opaque, so there is no foreground to paste"),
        (("faint.png",), "faint.png: no pixel is at least half opaque"),
        (("opaque.png",), "opaque.png: has no transparent pixels"),
        (
            ("photo.jpg",),
            "photo.jpg: has no transparent pixels, which would tell the foreground; give its mask with --mask",
        ),
        (("photo.jpg", "--mask", "black.png"), "photo.jpg: no pixel is at least half opaque where black.png is white"),
        (("photo.jpg", "--mask", "wide.png"), "wide.png: is 90 x 30 pixels but photo.jpg is 40 x 30"),
        (("photo.jpg", "--mask", "background.jpg"), "background.jpg: is coloured, so it is no mask"),
        (("cmyk.jpg", "--mask", "mask.png"), "cmyk.jpg: is CMYK"),
        (("grey.png",), "grey.png: is greyscale"),
        (("none.png",), "none.png: no such file"),
        (("cutout.png", "--scale", "0"), "--scale: must be a number above 0, not 0"),
        (("cutout.png", "--at", "400,3"), "--at, --scale: the foreground, "),
        (("cutout.png", "--at", "4"), "argument --at: must be X,Y, as 400,300 or 50%,70%, not '4'"),
        (("cutout.png", "--at", "nan,4"), "argument --at: must be X,Y"),
        (("cutout.png", "--shrink", "-1"), "--shrink: must be 0 pixels or more, not -1"),
        (("cutout.png", "--feather", "40"), "--shrink, --feather: leave nothing of the foreground"),
        (("cutout.png", "--compare"), "--compare: is of use with --harmonize only"),
        (("cutout.png", "--invert-mask"), "--invert-mask: there is no --mask to invert"),
        (("cutout.png", "-w", "x"), "--weights: is of use with --harmonize only"),
        (("cutout.png", "--device", "cuda"), "--device: is of use with --harmonize only"),
        (("cutout.png", "--strength", "0"), "--strength: is of use with --harmonize only"),
        (("cutout.png", "-o", "out.heic"), "-o out.heic: its format is unknown"),
        (("cutout.png", "more.png"), "unrecognized arguments: "),
    ):
        first, *rest = arguments
        status, said, told = paste(first, "background.jpg", "-o", "out.png", *rest)
        assert (status, said) == (2, "")
        assert says in told
        assert not list(place.glob("out*"))


def test_a_foreground_too_small_for_the_network(place, paste):
    """The composite and its mask are good all the same."""
    save(place / "background.jpg", smooth_image(seed=1, width=2000, height=1500))
    status, said, told = paste("cutout.png", "background.jpg", "-o", "out.png", "--scale", "0.1", "--harmonize")
    assert status == 2
    assert [line.split(":")[0] for line in said.splitlines()] == ["out.png", "out-mask.png"]
    assert "cutout.png: has no foreground at 128 x 128 pixels, as the network sees it; give a larger --scale" in told
    assert sorted(path.name for path in place.glob("out*")) == ["out-mask.png", "out.png"]


def test_a_transparent_background(place, paste):
    save(place / "background.png", np.dstack([smooth_image(seed=1, width=90, height=70), ellipse(90, 70, grow=2)]))
    assert paste("cutout.png", "background.png", "-o", "out.png")[0] == 0
    assert pixels("out.png").shape == (70, 90, 4)
    status, _, told = paste("cutout.png", "background.png", "-o", "new.jpg")
    assert status == 2
    assert "new.jpg: its image has transparent pixels, which JPEG cannot keep" in told


def test_harmonize_finds_the_masks(place, paste, monkeypatch, capsys):
    for name in ("a.png", "b.jpg"):
        assert paste("cutout.png", "background.jpg", "-o", f"made/{name}")[0] == 0
    monkeypatch.setattr(sys, "argv", ["frih", "harmonize", "made", "made", "-o", "out"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.startswith("2 of 2 harmonized, in out: ")
