"""From stored pictures to the network's size: one box, one resize, one flip, the same for composite, mask and real."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.config import DataConfig
from frih.data.pictures import HALF

_DRAWS = 10
_REDRAWS = 50


class View(NamedTuple):
    """What is seen of a picture: a box (left, top, right, bottom) in its pixels, mirrored or not."""

    box: tuple[int, int, int, int]
    flip: bool = False


def whole(image: Image.Image) -> View:
    """All of a picture."""
    return View((0, 0, image.width, image.height))


def random_view(mask: Image.Image, config: DataConfig, rng: np.random.Generator) -> View:
    """Draws a box for training; one without foreground is drawn again, except for a share of ``config.keep_empty_box``.

    If the foreground is so small that no draw meets it, the whole picture is taken.
    """
    flip = rng.random() < config.flip
    keep_empty = rng.random() < config.keep_empty_box or not has_foreground(mask, whole(mask), config.size)
    for _ in range(_REDRAWS):
        view = View(random_box(mask.width, mask.height, config.crop_scale, config.crop_ratio, rng), flip)
        if keep_empty or has_foreground(mask, view, config.size):
            return view
    return whole(mask)._replace(flip=flip)


def random_box(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A box of random size, shape and place: its share of the area is uniform, the logarithm of its aspect ratio too.

    If ten draws do not fit in the picture, the largest centred box of an allowed shape is taken.
    """
    for _ in range(_DRAWS):
        area = width * height * rng.uniform(*scale)
        aspect = np.exp(rng.uniform(*np.log(ratio)))
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    aspect = np.clip(width / height, *ratio)
    w, h = max(1, min(width, round(height * aspect))), max(1, min(height, round(width / aspect)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def has_foreground(mask: Image.Image, view: View, size: int) -> bool:
    """Whether a view of a mask holds any foreground once it is resized."""
    return bool((render(mask, view, size) >= HALF).any())


def render(image: Image.Image, view: View, size: int) -> np.ndarray:
    """Cuts, resizes and flips: (size, size, 3) uint8 of a picture, (size, size) uint8 of a mask.

    Bilinear with antialiasing: the filter widens when it shrinks, so large pictures do not alias.
    """
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=view.box)
    array = np.asarray(image)
    return np.array(array[:, ::-1] if view.flip else array)
