"""Images as they come from cameras and drawing programs."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import is_image_name, open_mask, open_reduced, open_rgb, read_mask, read_rgb, readable_first
from tests.conftest import smooth_image


@pytest.fixture
def image():
    return smooth_image(seed=0, width=20, height=10)


def refusal(read, path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_rgb_and_what_is_rgb_at_heart(tmp_path, image):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    assert np.array_equal(read_rgb(path), image)
    opaque = np.dstack([image, np.full((10, 20), 255, np.uint8)])
    Image.fromarray(opaque).save(path)
    assert np.array_equal(read_rgb(path), image)
    Image.fromarray(image).quantize(8).save(path)
    assert read_rgb(path).shape == (10, 20, 3)


def test_greyscale_becomes_rgb(tmp_path, image):
    Image.fromarray(image[..., 0]).save(tmp_path / "a.png")
    assert np.array_equal(read_rgb(tmp_path / "a.png"), np.repeat(image[..., :1], 3, axis=2))


def test_exif_rotated_images_are_turned_upright(tmp_path, image):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=exif, quality=98, subsampling=0)
    upright = read_rgb(tmp_path / "a.jpg")
    assert upright.shape == (20, 10, 3)
    assert np.abs(upright.astype(int) - np.rot90(image, 3)).mean() < 2


def test_cmyk_is_refused(tmp_path, image):
    Image.fromarray(image).convert("CMYK").save(tmp_path / "a.jpg")
    Image.new("LAB", (9, 6)).save(tmp_path / "a.tif")
    for name in ("a.jpg", "a.tif"):
        for read in (open_rgb, open_mask):
            assert "convert it to 8-bit sRGB" in refusal(read, tmp_path / name)


def test_transparency_is_refused(tmp_path, image):
    rgba = np.dstack([image, np.full((10, 20), 128, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert "flatten" in refusal(open_rgb, tmp_path / "a.png")
    assert "8-bit grey" in refusal(open_mask, tmp_path / "a.png")


def test_16_bit_grey_is_refused(tmp_path, image):
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(tmp_path / "a.png")
    for read in (open_rgb, open_mask):
        assert "more than 8 bits" in refusal(read, tmp_path / "a.png")


def test_16_bit_rgb_is_refused(tmp_path):
    """Pillow alone would halve the bits without a word."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(">6H", *range(0, 60000, 10000)))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    assert "more than 8 bits" in refusal(open_rgb, tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth_image(seed=0, width=200, height=200)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "cannot be read as an image" in refusal(open_rgb, path)


def test_no_file_and_no_image(tmp_path):
    assert "no such file" in refusal(open_rgb, tmp_path / "a.png")
    (tmp_path / "a.png").write_text("hello")
    assert "cannot be read as an image" in refusal(open_rgb, tmp_path / "a.png")


def test_only_regular_files_are_opened(tmp_path):
    """A pipe would wait for its writer for ever."""
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "is a folder" in refusal(open_rgb, tmp_path / "folder.png")
    assert "is no regular file" in refusal(open_rgb, tmp_path / "pipe.png")
    assert "no such file" in refusal(open_mask, tmp_path / "loop.png")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, "HEIC"),
        ("phone.jpg", b"\0\0\0\x24ftypheix\0\0\0\0mif1heix" + b"\0" * 99, "HEIC"),
        ("empty.HEIC", b"", "HEIC"),
        ("a.png", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "JPEG XL"),
        ("a.nef", b"II*\0", "raw"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    message = refusal(open_rgb, tmp_path / name)
    assert kind in message
    assert "convert it to PNG or JPEG" in message


def test_a_raw_files_preview_is_not_taken_for_the_image(tmp_path, image):
    Image.fromarray(image).save(tmp_path / "a.dng", format="TIFF")
    assert "raw" in refusal(open_rgb, tmp_path / "a.dng")


@pytest.mark.parametrize("error", [TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError])
def test_every_error_of_a_decoder_names_the_file(tmp_path, image, monkeypatch, error):
    Image.fromarray(image).save(tmp_path / "a.tif")
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", lambda self: (_ for _ in ()).throw(error()))
    assert error.__name__ in refusal(open_rgb, tmp_path / "a.tif")


def test_a_lack_of_memory_is_no_damage(tmp_path, image, monkeypatch):
    Image.fromarray(image).save(tmp_path / "a.tif")
    monkeypatch.setattr("PIL.TiffImagePlugin.TiffImageFile.load", lambda self: (_ for _ in ()).throw(MemoryError()))
    assert "more memory than there is; make it smaller" in refusal(open_rgb, tmp_path / "a.tif")


def test_a_raw_file_beside_its_jpeg_is_left_out():
    assert readable_first(["a.CR2", "a.jpg", "b.heic", "c.png", "c.dng"]) == ["a.jpg", "b.heic", "c.png"]


def test_names_of_images():
    images = ["a.jpg", "a.JPEG", "a.jfif", "a.avif", "a.tga", "a.jp2", "a.gif", "a.ppm", "a.heic", "a.dng"]
    others = ["._a.jpg", ".DS_Store", ".a.png.17.part", "Thumbs.db", "a.txt", "a.mpg", "a.h5", "jpg", "a"]
    assert [name for name in images + others if is_image_name(name)] == images


def test_masks_keep_their_greys(tmp_path):
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    Image.fromarray(grey).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), grey)


def test_masks_of_one_bit_and_in_colour(tmp_path):
    half = np.zeros((4, 6), bool)
    half[:, 3:] = True
    Image.fromarray(half).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), half * np.uint8(255))
    Image.fromarray(np.repeat(half[..., None] * np.uint8(255), 3, axis=2)).save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), half * np.uint8(255))


def test_masks_of_0_and_1_are_refused(tmp_path):
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "m.png")
    assert "foreground must be 255" in refusal(open_mask, tmp_path / "m.png")


@pytest.mark.parametrize("largest", [2, 100, 127])
def test_masks_of_label_numbers_are_refused(tmp_path, largest):
    Image.fromarray(np.eye(4, dtype=np.uint8) * np.uint8(largest)).save(tmp_path / "m.png")
    message = refusal(open_mask, tmp_path / "m.png")
    assert f"largest value is {largest}" in message
    assert "labels" in message
    Image.fromarray(np.eye(4, dtype=np.uint8) * np.uint8(128)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").max() == 128


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (128, 0, 0), (192, 128, 128), (255, 255, 238), (0, 0, 17)])
@pytest.mark.parametrize("palette", [False, True])
def test_a_coloured_mask_is_refused(tmp_path, color, palette):
    """By luminance, red would be a foreground of 0.3; by number, the first class would be one of 1."""
    mask = Image.new("RGB", (6, 4))
    mask.paste(color, (5, 3, 6, 4))  # one pixel is enough
    (mask.quantize(4) if palette else mask).save(tmp_path / "m.png")
    assert "is coloured, so it is no mask" in refusal(open_mask, tmp_path / "m.png")


def test_a_photo_is_no_mask(tmp_path, image):
    for name in ("m.png", "m.jpg"):
        Image.fromarray(image).save(tmp_path / name)
        assert "no mask" in refusal(open_mask, tmp_path / name)


@pytest.mark.parametrize("quality", [5, 30, 75, 95])
@pytest.mark.parametrize("tint", [(255, 255, 255), (255, 250, 245)])
def test_grey_masks_stay_masks_in_jpeg_and_slightly_tinted(tmp_path, quality, tint):
    mask = Image.new("RGB", (90, 70))
    mask.paste(tint, (20, 10, 55, 60))
    mask.save(tmp_path / "m.jpg", quality=quality)
    assert np.array_equal(read_mask(tmp_path / "m.jpg") >= 128, np.asarray(mask.convert("L")) >= 128)


def test_a_grey_palette_is_looked_up(tmp_path):
    mask = Image.fromarray(np.eye(4, dtype=np.uint8))
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png"), np.eye(4, dtype=np.uint8) * np.uint8(255))
    mask.putpalette([0, 0, 0, 1, 1, 1])
    mask.save(tmp_path / "m.png")
    assert "0 and 1" in refusal(open_mask, tmp_path / "m.png")


def test_an_empty_mask_is_a_mask(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "m.png")
    assert not read_mask(tmp_path / "m.png").any()


def test_a_jpeg_can_be_read_reduced_and_nothing_else(tmp_path):
    image = smooth_image(seed=3, width=203, height=101)
    for suffix in ("jpg", "png"):
        Image.fromarray(image).save(tmp_path / f"a.{suffix}")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "turned.jpg", exif=turned)
    for reduction, size in ((2, (102, 51)), (4, (51, 26)), (8, (26, 13))):
        opened = open_reduced(tmp_path / "a.jpg", reduction)
        assert (opened.image.size, opened.size, opened.reduction) == (size, (203, 101), reduction)
        exact = open_rgb(tmp_path / "a.jpg").resize((20, 10), Image.Resampling.BILINEAR)
        ours = opened.image.resize((20, 10), Image.Resampling.BILINEAR, box=(0, 0, 203 / reduction, 101 / reduction))
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(exact)).mean() < 3
    for name, size in (("a.png", (203, 101)), ("turned.jpg", (101, 203))):
        opened = open_reduced(tmp_path / name, 4)
        assert (opened.image.size, opened.size, opened.reduction) == (size, size, 1)
        assert np.array_equal(np.asarray(opened.image), read_rgb(tmp_path / name))


def test_a_reduced_image_is_read_as_strictly(tmp_path, image):
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth_image(seed=0, width=200, height=200)).convert("CMYK").save(path)
    assert "convert it to 8-bit sRGB" in refusal(lambda path: open_reduced(path, 2), path)
    path.write_bytes(path.read_bytes()[:1500])
    assert "cannot be read as an image" in refusal(lambda path: open_reduced(path, 2), path)
