import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from frih.common.errors import UserError
from frih.data.iharmony4 import read_split
from frih.evaluation.predictions import ENDINGS, find_predictions, open_prediction


@pytest.fixture
def items(dataset):
    return read_split(dataset, "train").items


def fill(folder: Path, items, name="{stem}.png", size=(128, 128)) -> Path:
    """A grey image for each composite."""
    for item in items:
        path = folder / name.format(stem=Path(item.composite_name).stem, subset=item.subset)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "grey").save(path)
    return folder


def refusal(folder, items, size=128, pattern=None) -> str:
    with pytest.raises(UserError) as caught:
        find_predictions(folder, items, size=size, pattern=pattern)
    return str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("place", ["", "{subset}/"])
def test_names_that_others_give(items, tmp_path, ending, place):
    folder = fill(tmp_path / "theirs", items[:2] + items[-1:], place + "{stem}" + ending + ".jpg")
    (folder / "notes.txt").write_text("")
    fill(folder, items[:1], place + "{stem}_mask.png")  # what else their programs write
    files = find_predictions(folder, items[:2] + items[-1:], size=128)
    assert files["A", "a-0_x_1_1.jpg"] == folder / place.format(subset="A") / f"a-0_x_1_1{ending}.jpg"
    assert len(files) == 3


@pytest.mark.parametrize("pattern", ["{name}-v2.final.png", "{subset}/{name}-v2.final.png", "out/{subset}_{name}.bmp"])
def test_names_by_a_pattern(items, tmp_path, pattern):
    folder = fill(tmp_path / "theirs", items, pattern.replace("{name}", "{stem}"))
    files = find_predictions(folder, items, size=128, pattern=pattern)
    assert len(files) == len(items)
    assert all(path.is_file() for path in files.values())


def test_missing_ones_are_counted_and_named(items, tmp_path):
    folder = fill(tmp_path / "theirs", items[5:])
    message = refusal(folder, items)
    assert message.startswith(f"{folder}: is not evaluated, for every image has to count once: 5 of 10 are missing, ")
    assert "A/a-0_x_1_1.jpg, A/a-0_x_1_2.jpg, A/a-1_x_1_1.jpg and 2 more" in message
    assert "_HYT" in message
    assert "named as {name}.webp" in refusal(folder, items, pattern="{name}.webp")
    assert "has no {name}" in refusal(folder, items, pattern="out.png")
    assert "no such folder" in refusal(tmp_path / "nowhere", items)


def test_doubled_ones_are_counted_and_named(items, tmp_path):
    folder = fill(tmp_path / "theirs", items)
    fill(folder, items[:1], "{stem}_harmonized.jpg")
    fill(folder, items[1:2], "{stem}.webp")
    message = refusal(folder, items)
    assert "2 are there more than once, A/a-0_x_1_1.jpg by a-0_x_1_1.png and a-0_x_1_1_harmonized.jpg, " in message
    assert "A/a-0_x_1_2.jpg by a-0_x_1_2.png and a-0_x_1_2.webp; keep one of each" in message


def test_one_file_for_composites_of_two_subsets(items, tmp_path):
    both = [items[0], items[0]._replace(subset="B")]
    message = refusal(fill(tmp_path / "theirs", items), both)
    assert "1 could be of several, a-0_x_1_1.png could be A/a-0_x_1_1.jpg or B/a-0_x_1_1.jpg; sort them" in message


def test_missized_ones_are_counted_and_named(items, tmp_path):
    folder = fill(tmp_path / "theirs", items)
    path = folder / "a-1_x_1_2.png"
    Image.new("RGB", (60, 50)).save(path)
    wanted = f"1 is of another size, {path} is 60 x 50, but its composite is 160 x 140"
    assert refusal(folder, items).endswith(f"{wanted}; 128 x 128 would do too")
    assert "10 are of another size" in refusal(folder, items, size=None)
    Image.new("RGB", (160, 140)).save(path)
    assert len(find_predictions(folder, items, size=128)) == 10


def test_an_image_that_is_stored_turned(items, tmp_path):
    orientation = Image.Exif()
    orientation[0x0112] = 6
    path = tmp_path / "a-0_x_1_1.png"
    Image.new("RGB", (140, 160)).save(path, exif=orientation)
    assert find_predictions(tmp_path, items[:1], size=None)["A", "a-0_x_1_1.jpg"] == path
    assert open_prediction(path, items[0].composite, None).shape == (140, 160, 3)


def png_of_claimed_size(path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header claims a size."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("width", "height", "complaint"),
    [
        (9000, 9000, "is 9000 x 9000, but its composite is 160 x 140"),
        (60000, 60000, "has more than 178 megapixels"),
        (128, 128, "cannot be read as an image"),
    ],
)
def test_claimed_sizes_are_named_and_nothing_is_decoded(items, tmp_path, monkeypatch, width, height, complaint):
    """But where the size is right."""
    folder = fill(tmp_path / "theirs", items)
    path = folder / "a-1_x_1_2.png"
    png_of_claimed_size(path, width, height)
    if width != 128:
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda image: pytest.fail("is decoded"))
    with pytest.raises(UserError, match=complaint) as caught:
        open_prediction(path, items[3].composite, 128)
    assert str(path) in str(caught.value)
    if width == 9000:
        monkeypatch.undo()
        assert f"1 is of another size, {path} is 9000 x 9000" in refusal(folder, items)


def test_what_is_no_file_is_named(items, tmp_path):
    folder = fill(tmp_path / "theirs", items)
    for name, make, what in (("a-0_x_1_1", Path.mkdir, "is a folder"), ("a-0_x_1_2", os.mkfifo, "is no regular file")):
        path = folder / f"{name}.png"
        path.unlink()
        make(path)
        files = find_predictions(folder, items, size=128)
        with pytest.raises(UserError, match=f"{path}: {what}"):
            open_prediction(files["A", f"{name}.jpg"], items[0].composite, 128)


def test_opening(items, tmp_path):
    path = tmp_path / "x.png"
    image = np.random.default_rng(0).integers(0, 256, (140, 160, 3), dtype=np.uint8)
    Image.fromarray(image).save(path)
    assert np.array_equal(open_prediction(path, items[0].composite, None), image)
    small = np.asarray(Image.fromarray(image).resize((128, 128), Image.Resampling.BILINEAR))
    assert np.array_equal(open_prediction(path, items[0].composite, 128), small)
    Image.fromarray(small).save(path)
    assert np.array_equal(open_prediction(path, items[0].composite, 128), small)
    with pytest.raises(UserError, match="is 128 x 128, but its composite is 160 x 140"):
        open_prediction(path, items[0].composite, None)
