"""Reads images and masks strictly: a file of doubtful meaning is an error that names it."""

import struct
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from frih.common.errors import UserError

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Suffixes of images, in lower case, where a folder is searched."""
HALF = 128
"""A grey mask is foreground from this value on (0.5 of 255)."""


class Opened(NamedTuple):
    """An image as it was decoded."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height of the stored image, upright."""
    reduction: int
    """Stored pixels for each pixel of ``image``, in each direction."""


def open_rgb(path: Path, file: IO[bytes] | None = None) -> Image.Image:
    """Reads an image as 8-bit RGB, upright (EXIF orientation applied); see :func:`as_rgb`.

    Args:
        path: the image's file.
        file: the image, if it is inside of that file.

    Raises:
        UserError: the file is missing, truncated or no image; or it is CMYK, has more than 8 bits a channel, or is
            transparent.
    """
    return as_rgb(_open(file or path, path).image, str(path))


def open_reduced(path: Path, reduction: int) -> Opened:
    """Reads an image as :func:`open_rgb` does, but a JPEG at a fraction of its size, which is faster.

    Args:
        path: of any image; a JPEG with an EXIF orientation is read in full.
        reduction: 1, 2, 4 or 8.

    Raises:
        UserError: as :func:`open_rgb`.
    """
    opened = _open(path, path, reduction)
    return opened._replace(image=as_rgb(opened.image, str(path)))


def open_mask(path: Path) -> Image.Image:
    """Reads a mask as 8-bit grey, upright; see :func:`as_mask`.

    Raises:
        UserError: the file is missing, truncated or no image; has more than 8 bits; is transparent; or holds only 0 and 1.
    """
    return as_mask(_open(path, path).image, str(path))


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """An image in 8-bit RGB. Greyscale and palette are converted, an opaque alpha channel is dropped.

    Raises:
        UserError: it is CMYK, has more than 8 bits a channel, or is transparent; ``name`` is the image's.
    """
    _refuse_deep(image, name)
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise UserError(f"{name}: is {image.mode}, whose colours depend on a profile; convert it to 8-bit sRGB")
    if _is_transparent(image):
        raise UserError(f"{name}: has transparent pixels; flatten it onto its background first")
    return image if image.mode == "RGB" else image.convert("RGB")


def as_mask(image: Image.Image, name: str) -> Image.Image:
    """A mask in 8-bit grey: 0 is background, 255 foreground, and borders may be in between.

    Raises:
        UserError: it has more than 8 bits, is transparent, or holds only 0 and 1; ``name`` is the mask's.
    """
    _refuse_deep(image, name)
    if _is_transparent(image):
        raise UserError(f"{name}: is a mask with transparent pixels; save it as 8-bit grey, 255 = foreground")
    mask = image if image.mode == "L" else image.convert("L")
    if mask.getextrema()[1] == 1:
        raise UserError(f"{name}: is a mask of 0 and 1; its foreground must be 255 (multiply it by 255)")
    return mask


def read_rgb(path: Path) -> np.ndarray:
    """:func:`open_rgb` as an array: (H, W, 3) uint8."""
    return np.asarray(open_rgb(path))


def read_mask(path: Path) -> np.ndarray:
    """:func:`open_mask` as an array: (H, W) uint8."""
    return np.asarray(open_mask(path))


def _is_transparent(image: Image.Image) -> bool:
    if image.mode not in ("LA", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return False
    return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _refuse_deep(image: Image.Image, name: str) -> None:
    if image.mode in DEEP_MODES:
        raise UserError(f"{name}: has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")


def _open(source: Path | IO[bytes], path: Path, reduction: int = 1) -> Opened:
    try:
        with Image.open(source) as file:
            # Pillow silently cuts 16-bit RGB down to 8 bits; the storage format shows it
            deep = any(";16" in str(tile[-1]) for tile in getattr(file, "tile", ()))
            size = file.size
            if reduction > 1 and file.format == "JPEG" and file.getexif().get(ExifTags.Base.Orientation, 1) == 1:
                file.draft(None, (size[0] // reduction, size[1] // reduction))
            reduced = file.size != size
            file.load()
            ImageOps.exif_transpose(file, in_place=True)
            image: Image.Image = file
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: cannot be read as an image ({error}); restore it from its source") from None
    if deep:
        raise UserError(f"{path}: has more than 8 bits a channel; convert it to 8 bits")
    return Opened(image, size, reduction) if reduced else Opened(image, image.size, 1)
