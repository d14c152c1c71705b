"""Your own images: PIL images, arrays or files, given back in the form they came in.

Data sets are read strictly (:mod:`frih.data.images`). Your own image may have 16 bits, floating point and an alpha channel. A
form without room for new colours, such as greyscale, is refused; the message names the remedy.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from frih.common.errors import UserError
from frih.data.images import HALF, as_grey, check_foreground, reading

AnyImage = Image.Image | np.ndarray | str | Path

_STRIP = 1 << 22
"""Pixels that are converted at a time."""
_TYPES = "of uint8, uint16, or floating point of 16 to 64 bits in [0, 1]"
_ROOMLESS = {
    "1": "is black and white",
    **dict.fromkeys(("L", "LA", "La", "I", "F"), "is greyscale"),
    **dict.fromkeys(("P", "PA"), "has a palette"),
    "RGBa": "has its colours multiplied by alpha",
}


class Metadata(NamedTuple):
    """What a PIL image has besides pixels."""

    info: dict[str | tuple[int, int], Any]
    exif: Image.Exif


class Own(NamedTuple):
    """An image, and the form it came in."""

    pixels: np.ndarray
    """(H, W, 3) or, with alpha, (H, W, 4); uint8, uint16, or float32 or float64 in [0, 1]."""
    form: np.dtype[Any] | Metadata
    """The type of an array, or the metadata of a PIL image or a file; not the image, which has the pixels again."""
    name: str

    def give_back(self, pixels: np.ndarray) -> Image.Image | np.ndarray:
        """Puts new pixels into the form of this image: an array, or a PIL image with the metadata.

        Raises:
            UserError: the metadata is damaged.
        """
        if isinstance(self.form, np.dtype):
            return pixels.astype(self.form, copy=False)
        result = Image.fromarray(pixels)
        result.info = dict(self.form.info)
        result.info.pop("transparency", None)  # a colour that no pixel had; a new one may have it
        with _checking_exif(self.name):
            if self.form.exif:
                result.info["exif"] = self.form.exif.tobytes()
        return result


def read_image(image: AnyImage | Own, name: str = "image") -> Own:
    """Takes an image.

    Args:
        image: a file, which is turned upright by its EXIF orientation; a PIL image, RGB or RGBA; or an array, (H, W, 3) or,
            with alpha, (H, W, 4), of uint8, uint16, or floating point of 16 to 64 bits in [0, 1]; or one taken before.
        name: for messages about an image that is not a file.

    Raises:
        UserError: the file cannot be read, the image's form has no room for new colours, or its metadata is damaged.
    """
    if isinstance(image, Own):
        return image
    if isinstance(image, np.ndarray):
        return Own(_check_array(image, name), image.dtype, name)
    name, image = _as_image(image, name)
    if image.mode == "RGB" and "transparency" in image.info:  # one colour stands for transparent
        shown = image.convert("RGBA")
        image = image if is_opaque(np.asarray(shown)) else shown
    if image.mode not in ("RGB", "RGBA"):
        kind = _ROOMLESS.get(image.mode, "is greyscale of 16 bits" if image.mode[0] == "I" else f"is {image.mode}")
        wanted = "RGBA" if image.mode in ("LA", "PA") or "transparency" in image.info else "RGB"
        raise UserError(
            f"{name}: {kind} (mode {image.mode}), which has no room for new colours; save it as {wanted}, "
            f'or call image.convert("{wanted}")'
        )
    pixels = np.asarray(image)
    with _checking_exif(name):
        return Own(pixels, Metadata(dict(image.info), image.getexif()), name)


def read_mask(mask: AnyImage, name: str = "mask") -> np.ndarray:
    """Takes a mask.

    Args:
        mask: a file, PIL image or array, grey or boolean, of any depth. 0 is background, the largest value of its type (1 for
            floating point) is foreground, and values between them blend. If it has an alpha channel that is not opaque
            everywhere, as a cut-out foreground has, the mask is that channel. Other channels must agree.
        name: for messages about a mask that is not a file.

    Returns:
        (H, W) uint8.

    Raises:
        UserError: it cannot be read, or it is not a mask: it is coloured, or holds label numbers.
    """
    if not isinstance(mask, np.ndarray):
        return to_bytes(_grey(*_as_image(mask, name)))
    if mask.ndim not in (2, 3) or mask.shape[2:] not in ((), (1,), (3,), (4,)) or 0 in mask.shape:
        raise UserError(f"{name}: must be (H, W), or (H, W, 4) with alpha, not {mask.shape}")
    _check_values(mask, name)
    return to_bytes(_channel(mask, name))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Rounds values of any of these types to 8 bits."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    result = np.empty(values.shape, np.uint8)
    step = max(1, _STRIP // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        strip = values[start : start + step].astype(np.float32)
        result[start : start + step] = np.rint(strip * (255 / full(values.dtype)))
    return result


def full(dtype: np.dtype) -> float:
    """The value of full brightness."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def is_opaque(pixels: np.ndarray) -> bool:
    """Whether an image (H, W, 3 or 4) has no transparent pixel, not even partly."""
    return pixels.shape[2] == 3 or bool(pixels[..., 3].min() == full(pixels.dtype))


def is_seen(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels are seen: those at least half opaque; in an image without any, all that are not fully transparent."""
    seen = alpha >= HALF
    return seen if seen.any() else alpha > 0


def check_strength(strength: float, name: str = "strength") -> None:
    """Checks the share of a change.

    Args:
        strength: 0 to 1.
        name: for the message.

    Raises:
        UserError: it is out of range.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"{name}: must be from 0 (no change) to 1 (the network's), not {strength:g}")


def is_same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) are one image's at two scales, but for rounding."""
    return abs(other[0] * one[1] - other[1] * one[0]) <= max(*one, *other)


def check_sizes(pixels: np.ndarray, mask: np.ndarray, names: tuple[str, str]) -> None:
    """Checks that a mask is as large as its image.

    Raises:
        UserError: it is not. The message names both sizes, and says whether the shapes differ too.
    """
    (height, width), (tall, wide) = pixels.shape[:2], mask.shape
    if (height, width) == (tall, wide):
        return
    if is_same_shape((width, height), (wide, tall)):
        remedy = f"the shapes agree, so resize the mask to {width} x {height}"
    elif wide == tall:
        remedy = f"it was most likely squashed to a square, as networks do; if so, resize it to {width} x {height}"
    elif (tall, wide) == (width, height):
        remedy = "one of them lies on its side; turn it"
    else:
        shapes = f"{wide / tall:.3g} : 1 and {width / height:.3g} : 1"
        remedy = f"their shapes differ too ({shapes}), so it belongs to another image"
    raise UserError(f"{names[1]}: is {wide} x {tall} pixels but {names[0]} is {width} x {height}; {remedy}")


@contextmanager
def _checking_exif(name: str) -> Iterator[None]:
    """Around work on the EXIF metadata of the image of that name."""
    try:
        yield
    except Exception as error:  # Pillow checks none of the types that a file declares
        raise UserError(f"{name}: its EXIF metadata is damaged ({error}); remove it") from None


def _as_image(image: Image.Image | str | Path, name: str) -> tuple[str, Image.Image]:
    """The name of a file or PIL image for messages, and the image."""
    if isinstance(image, str | Path):
        return str(image), _open(Path(image))
    if not isinstance(image, Image.Image):
        raise UserError(f"{name}: must be a file's path, a PIL image or a NumPy array, not {type(image).__name__}")
    return name, image


def _check_array(array: np.ndarray, name: str) -> np.ndarray:
    """The array in a type to work with, which can hold all of its values."""
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise UserError(f"{name}: must be (H, W, 3), or (H, W, 4) with alpha, not {array.shape}")
    _check_values(array, name)
    if array.dtype == np.bool_:
        raise UserError(f"{name}: must be {_TYPES}, not bool")
    own = array.dtype.newbyteorder("=")
    return array.astype(np.float32 if own == np.float16 else own, copy=False)


def _check_values(array: np.ndarray, name: str) -> None:
    if array.dtype.newbyteorder("=") not in (np.bool_, np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise UserError(f"{name}: must be {_TYPES}, not {array.dtype}")
    if array.dtype.kind == "f":
        low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UserError(f"{name}: holds values that are not finite (NaN or infinite); replace them")
        if low < 0 or high > 1:
            raise UserError(
                f"{name}: floating point must be in [0, 1], not {low:g} to {high:g}; divide it by its largest value"
            )


def _grey(name: str, mask: Image.Image) -> np.ndarray:
    """A mask as an array: its alpha channel if it is not opaque, its grey otherwise. Alpha may be faint: it has no labels."""
    if mask.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in mask.info:
        alpha = mask.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return np.asarray(alpha)
    if mask.mode.startswith("I;16"):
        return _without_labels(np.asarray(mask).astype(np.uint16), name)
    if mask.mode == "I":
        top = 255 if mask.getextrema()[1] <= 255 else 65535  # type: ignore[operator]
        return _without_labels(np.asarray(mask).clip(0, top).astype(np.uint8 if top == 255 else np.uint16), name)
    values = np.asarray(mask if mask.mode == "F" else as_grey(mask, name))
    _check_values(values, name)
    return _without_labels(values, name)


def _channel(mask: np.ndarray, name: str) -> np.ndarray:
    """(H, W) of a mask, (H, W) or (H, W, 1, 3 or 4), chosen as :func:`_grey` does."""
    if mask.ndim == 2:
        return _without_labels(mask, name)
    if mask.shape[2] == 4 and mask[..., 3].min() < full(mask.dtype):
        return mask[..., 3]
    if mask.shape[2] > 1:
        as_grey(Image.fromarray(to_bytes(mask[..., :3])), name)
    return _without_labels(mask[..., 0], name)


def _without_labels(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.dtype == np.uint8:
        check_foreground(int(mask.max()), name)
    elif mask.dtype.kind == "u" and 0 < mask.max() <= np.iinfo(mask.dtype).max // 2:
        raise UserError(
            f"{name}: is a mask whose largest value is {mask.max()} of {np.iinfo(mask.dtype).max}, and foreground begins at "
            "one half; bring it to 8 bits, 255 = foreground"
        )
    return mask


def _open(path: Path) -> Image.Image:
    """A file's image, turned upright."""
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large images are welcome
        with Image.open(path) as file:
            frames = getattr(file, "n_frames", 1)
            if frames > 1 and file.format != "MPO":
                raise UserError(
                    f"{path}: holds {frames} images; save each by itself, or give them to Harmonizer.frames"
                )
            if file.mode in ("RGB", "RGBA") and any(";16" in str(tile[-1]) for tile in getattr(file, "tile", ())):
                raise UserError(
                    f"{path}: has 16 bits a channel, of which Pillow reads 8; give it to Harmonizer as an array of "
                    "uint16, or save it in 8 bits"
                )
            file.load()
            ImageOps.exif_transpose(file, in_place=True)
            image: Image.Image = file
    return image
