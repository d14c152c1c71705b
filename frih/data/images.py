"""Reads images and masks strictly: a file of doubtful meaning is an error that names it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePath
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageOps, UnidentifiedImageError

from frih.common.errors import UserError
from frih.common.files import AnyPath, is_hidden

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
UNLIKE_RGB = ("CMYK", "LAB", "HSV")
HALF = 128
"""A grey mask is foreground from this value on (0.5 of 255)."""
GREY = 16
"""How far the channels of a grey mask may lie apart: JPEG and colour profiles move them a little."""

_NO_IMAGES = ("BUFR", "GRIB", "HDF5", "MPEG")
"""Formats that Pillow knows by name, but reads no image of."""
_HEIC = "HEIC (iPhones write it)"
_RAW = "a camera's raw format"
_UNREADABLE = {
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    ".jxl": "JPEG XL",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"), _RAW),
}
"""Formats of images that Pillow does not read, by suffix. Of a raw file it would read the small preview."""
_SIGNATURES = {
    **dict.fromkeys((b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), _HEIC),
    b"ftypavi": "AVIF",
    b"ftypcrx": _RAW,
    b"JXL ": "JPEG XL",
}
"""The same by what the files hold from their fifth byte on."""


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
        UserError: the file is missing, truncated or no image; has more than 8 bits; is transparent or coloured; or holds
            label numbers.
    """
    return as_mask(_open(path, path).image, str(path))


def open_labels(path: Path) -> Image.Image:
    """Reads an image of label numbers, upright: grey values, or the indices of a palette, 8 bits.

    Raises:
        UserError: the file is missing, truncated or no image; or it has more than 8 bits or several channels.
    """
    image = _open(path, path).image
    _refuse_deep(image, str(path))
    if image.mode not in ("1", "L", "P"):
        raise UserError(
            f"{path}: is {image.mode}; labels are grey values or a palette's indices, 8 bits in one channel"
        )
    return Image.fromarray(np.array(image).astype(np.uint8))


def as_rgb(image: Image.Image, name: str) -> Image.Image:
    """An image in 8-bit RGB. Greyscale and palette are converted, an opaque alpha channel is dropped.

    Raises:
        UserError: it is CMYK, has more than 8 bits a channel, or is transparent; ``name`` is the image's.
    """
    _refuse_deep(image, name)
    _refuse_unlike_rgb(image, name)
    if is_transparent(image):
        raise UserError(f"{name}: has transparent pixels; flatten it onto its background first")
    return image if image.mode == "RGB" else image.convert("RGB")


def as_mask(image: Image.Image, name: str) -> Image.Image:
    """A mask in 8-bit grey: 0 is background, 255 foreground, and borders may be in between.

    Raises:
        UserError: it has more than 8 bits, is transparent or coloured, or holds label numbers; ``name`` is the mask's.
    """
    _refuse_deep(image, name)
    if is_transparent(image):
        raise UserError(f"{name}: is a mask with transparent pixels; save it as 8-bit grey, 255 = foreground")
    mask = as_grey(image, name)
    check_foreground(mask.getextrema()[1], name)  # type: ignore[arg-type]
    return mask


def as_grey(image: Image.Image, name: str) -> Image.Image:
    """A mask of 8 bits in mode L. A palette is looked up first.

    Raises:
        UserError: it is CMYK, or coloured, so it is a photo or a map of labels; ``name`` is the mask's.
    """
    if image.mode in ("1", "L", "LA"):
        return image if image.mode == "L" else image.convert("L")
    _refuse_unlike_rgb(image, name)
    red, green, blue = image.convert("RGB").split()
    pairs = ((red, green), (green, blue), (blue, red))
    apart = max(ImageChops.difference(*pair).getextrema()[1] for pair in pairs)
    if apart > GREY:  # type: ignore[operator]
        raise UserError(
            f"{name}: is coloured, so it is no mask but an image or a map of labels; a mask is grey, 255 = foreground"
        )
    return image.convert("L")


def check_foreground(largest: int, name: str) -> None:
    """Checks the largest value of a mask of 8 bits.

    Raises:
        UserError: the mask is not empty, but no value counts as foreground; ``name`` is the mask's.
    """
    if largest == 1:
        raise UserError(f"{name}: is a mask of 0 and 1; its foreground must be 255 (multiply it by 255)")
    if 0 < largest < HALF:
        raise UserError(
            f"{name}: is a mask whose largest value is {largest}, and foreground begins at {HALF}; if it holds the numbers "
            "of labels, set the wanted label to 255 and the others to 0; a soft mask that faint must be black"
        )


def is_image_name(name: str | PurePath) -> bool:
    """Whether a file is an image by its name, where a folder is searched.

    So is every format that Pillow opens, and some that it does not: they are refused by name when they are read. Hidden files,
    such as macOS's ``._a.jpg``, are no images.
    """
    path = PurePath(name)
    return not is_hidden(path.name) and path.suffix.lower() in _suffixes()


def readable_first(paths: Iterable[AnyPath]) -> list[AnyPath]:
    """Leaves out raw, HEIC and JPEG XL files beside an image of the same name that can be read: cameras write both."""
    paths = list(paths)
    unreadable = {path for path in paths if PurePath(path).suffix.lower() in _UNREADABLE}
    others = {PurePath(path).with_suffix("") for path in paths if unreadable and path not in unreadable}
    return [path for path in paths if path not in unreadable or PurePath(path).with_suffix("") not in others]


@cache
def _suffixes() -> frozenset[str]:
    known = Image.registered_extensions()
    opened = {suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NO_IMAGES}
    return frozenset(opened | _UNREADABLE.keys())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Reads an image's file inside the ``with`` block.

    Raises:
        UserError: there is no such file; it is a folder, a pipe or a device, which is never opened; or anything went wrong
            inside of the block.
    """
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no regular file" if path.exists() else "no such file"
            raise UserError(f"{path}: {what}{'; give the file of an image' if path.exists() else ''}")
        if _UNREADABLE.get(path.suffix.lower()) == _RAW:
            raise UnidentifiedImageError
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        kind = _unreadable(path)
        if kind:
            raise UserError(f"{path}: is {kind}, which is not read here; convert it to PNG or JPEG of 8 bits") from None
        raise UserError(f"{path}: cannot be read as an image ({error}); restore it from its source") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(f"{path}: has more than {limit} megapixels; make it smaller, or cut it into parts") from None
    except MemoryError:
        raise UserError(f"{path}: needs more memory than there is; make it smaller, or cut it into parts") from None
    except Exception as error:  # Pillow's readers raise nearly all there are for damaged files
        why = str(error) or type(error).__name__
        raise UserError(f"{path}: cannot be read as an image ({why}); restore it from its source") from None


def _unreadable(path: Path) -> str | None:
    """The format of an image that Pillow does not know, by the file's first bytes or its suffix."""
    with path.open("rb") as file:
        head = file.read(16)[4:]
    by_content = next((kind for start, kind in _SIGNATURES.items() if head.startswith(start)), None)
    return by_content or _UNREADABLE.get(path.suffix.lower())


def read_rgb(path: Path) -> np.ndarray:
    """:func:`open_rgb` as an array: (H, W, 3) uint8."""
    return np.asarray(open_rgb(path))


def read_mask(path: Path) -> np.ndarray:
    """:func:`open_mask` as an array: (H, W) uint8."""
    return np.asarray(open_mask(path))


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has a pixel that is not opaque."""
    if image.mode not in ("LA", "PA", "RGBA", "RGBa") and "transparency" not in image.info:
        return False
    return image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _refuse_unlike_rgb(image: Image.Image, name: str) -> None:
    if image.mode in UNLIKE_RGB:
        raise UserError(f"{name}: is {image.mode}, whose colours depend on a profile; convert it to 8-bit sRGB")


def _refuse_deep(image: Image.Image, name: str) -> None:
    if image.mode in DEEP_MODES:
        raise UserError(f"{name}: has more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")


def _open(source: Path | IO[bytes], path: Path, reduction: int = 1) -> Opened:
    with reading(path), Image.open(source) as file:
        # Pillow silently cuts 16-bit RGB down to 8 bits; the storage format shows it
        deep = any(";16" in str(tile[-1]) for tile in getattr(file, "tile", ()))
        size = file.size
        if reduction > 1 and file.format == "JPEG" and file.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            file.draft(None, (size[0] // reduction, size[1] // reduction))
        reduced = file.size != size
        file.load()
        ImageOps.exif_transpose(file, in_place=True)
        image: Image.Image = file
    if deep:
        raise UserError(f"{path}: has more than 8 bits a channel; convert it to 8 bits")
    return Opened(image, size, reduction) if reduced else Opened(image, image.size, 1)
