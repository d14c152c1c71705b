"""Sizes, filters and formats of smaller copies of stored images.

They were chosen by measurement; see benchmarks/prepare.py and docs/data.md.
"""

import io
from pathlib import Path
from typing import Literal

from PIL import ExifTags, Image

from frih.data.images import HALF
from frih.data.transforms import FILTER

Size = Literal["256", "512", "1024", "original"]
Format = Literal["jpeg", "webp", "png"]

SIZES: tuple[Size, ...] = ("256", "512", "1024", "original")
"""``256``: exactly 256 x 256, the size at which evaluation sees every image. ``512``, ``1024``: the bound of the longer side;
images keep their shape and are not enlarged. ``original``: the stored size."""
SUFFIXES: dict[Format, str] = {"jpeg": ".jpg", "webp": ".webp", "png": ".png"}
FILTERS = {"256": FILTER, "512": Image.Resampling.BICUBIC, "1024": Image.Resampling.BICUBIC}
"""At 256 the pixels are those that the loader makes of the source. The other sizes are resized again by the loader, so their
filter is sharper: the loader's filter twice would change the metrics twice as much (benchmarks/prepare.py)."""
FORMATS: dict[Size, Format] = {"256": "webp", "512": "jpeg", "1024": "jpeg", "original": "png"}
"""The default format of resized images. JPEG keeps colours at full resolution (4:4:4); WebP and PNG are lossless."""
QUALITY = 95
"""The default quality of JPEG."""

_SQUARE = 256
_PNG_LEVEL = 1


def shrink(image: Image.Image, size: Size) -> Image.Image:
    """Resizes an image, or a mask with its grey borders; returns the same object if the size is right."""
    width, height = _target(image.size, size)
    if (width, height) == image.size:
        return image
    small = image.resize((width, height), FILTERS[size])
    if small.mode == "L" and small.getextrema()[1] < HALF:  # type: ignore[operator]
        return Image.new(
            "L", small.size
        )  # no foreground is left, and readers refuse a mask that has only darker values
    return small


def _target(stored: tuple[int, int], size: Size) -> tuple[int, int]:
    if size == "original":
        return stored
    if size == "256":
        return _SQUARE, _SQUARE
    scale = min(1.0, int(size) / max(stored))
    return max(1, round(scale * stored[0])), max(1, round(scale * stored[1]))


def encode(image: Image.Image, format: Format, quality: int | None = None) -> bytes:
    """The content of an image's file."""
    file = io.BytesIO()
    if format == "jpeg":
        image.save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    elif format == "webp":
        image.save(file, "WEBP", lossless=True, quality=0, method=0)  # the fastest to read; smaller than PNG
    else:
        image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def is_plain(path: Path, is_mask: bool) -> bool:
    """Whether a file is upright and plainly RGB or grey, so that its pixels are used as they are."""
    with Image.open(path) as image:
        plain = image.mode in (("L", "1") if is_mask else ("RGB", "L"))
        return plain and image.getexif().get(ExifTags.Base.Orientation, 1) == 1 and "transparency" not in image.info
