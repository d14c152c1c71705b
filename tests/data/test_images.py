"""Images as they come from cameras and drawing programs."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import open_mask, open_reduced, open_rgb, read_mask, read_rgb
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
    assert "convert it to 8-bit sRGB" in refusal(open_rgb, tmp_path / "a.jpg")


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
    (tmp_path / "b.png").mkdir()
    assert "cannot be read as an image" in refusal(open_rgb, tmp_path / "b.png")


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
