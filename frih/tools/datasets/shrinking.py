"""A stored image made smaller: sizes, filters and formats to choose from.

They are chosen by measurement; see benchmarks/prepare.py and docs/data.md.
"""

import io
from pathlib import Path
from typing import Literal

from PIL import ExifTags, Image

from frih.data.transforms import FILTER

Size = Literal["256", "512", "1024", "original"]
Format = Literal["jpeg", "webp", "png"]

SIZES: tuple[Size, ...] = ("256", "512", "1024", "original")
"""``256``: exactly 256 x 256, what evaluation makes of every image. ``512``, ``1024``: the longer side at most; the shape is
kept and nothing is enlarged. ``original``: as it is."""
SUFFIXES: dict[Format, str] = {"jpeg": ".jpg", "webp": ".webp", "png": ".png"}
FILTERS = {"256": FILTER, "512": Image.Resampling.BICUBIC, "1024": Image.Resampling.BICUBIC}
"""256 is what the loader would make of the source, pixel for pixel. The others are resized by it once more, so they are kept
sharper: twice its own filter would move the metrics twice as far (benchmarks/prepare.py)."""
FORMATS: dict[Size, Format] = {"256": "webp", "512": "jpeg", "1024": "jpeg", "original": "png"}
"""Of images that are made anew, by default. JPEG keeps colours at full resolution (4:4:4); WebP and PNG are lossless."""
QUALITY = 95
"""Of JPEG, by default."""

_SQUARE = 256
_PNG_LEVEL = 1


def shrink(image: Image.Image, size: Size) -> Image.Image:
    """Resizes an image, or a mask with its grey borders; what has the right size comes back as it is."""
    width, height = _target(image.size, size)
    if (width, height) == image.size:
        return image
    small = image.resize((width, height), FILTERS[size])
    if small.mode == "L" and small.getextrema()[1] == 1:
        return Image.new("L", small.size)  # next to no foreground is left; a mask of 0 and 1 would be refused
    return small


def _target(stored: tuple[int, int], size: Size) -> tuple[int, int]:
    if size == "original":
        return stored
    if size == "256":
        return _SQUARE, _SQUARE
    scale = min(1.0, int(size) / max(stored))
    return max(1, round(scale * stored[0])), max(1, round(scale * stored[1]))


def encode(image: Image.Image, format: Format, quality: int | None = None) -> bytes:
    """An image as a file's content."""
    file = io.BytesIO()
    if format == "jpeg":
        image.save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    elif format == "webp":
        image.save(file, "WEBP", lossless=True, quality=0, method=0)  # the fastest to read, and smaller than PNG
    else:
        image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()


def is_plain(path: Path, is_mask: bool) -> bool:
    """Whether a file is stored as it is read: upright, and in colours or grey."""
    with Image.open(path) as image:
        plain = image.mode in (("L", "1") if is_mask else ("RGB", "L"))
        return plain and image.getexif().get(ExifTags.Base.Orientation, 1) == 1 and "transparency" not in image.info
