"""From stored images to the network's size: one box, one resize, one flip, the same for composite, mask and real."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.config import DataConfig
from frih.data.images import HALF

FILTER = Image.Resampling.BILINEAR
"""The filter of every resize. Pillow widens it when it shrinks an image, so large images do not alias."""

_DRAWS = 10
_REDRAWS = 50
_SPARE = 2
"""An image may be decoded at a reduced size if its box keeps so many times the rendered size."""


class View(NamedTuple):
    """A part of an image: a box (left, top, right, bottom) in its pixels, mirrored or not."""

    box: tuple[int, int, int, int]
    flip: bool = False

    def reduction(self, size: int) -> int:
        """The factor, 1, 2, 4 or 8, by which the image may be reduced before its box is rendered at ``size``."""
        shorter = min(self.box[2] - self.box[0], self.box[3] - self.box[1])
        return max(n for n in (1, 2, 4, 8) if n == 1 or shorter >= _SPARE * size * n)


def whole(image: Image.Image) -> View:
    """All of an image."""
    return View((0, 0, image.width, image.height))


def random_view(mask: Image.Image, config: DataConfig, rng: np.random.Generator) -> tuple[View, np.ndarray]:
    """Draws a box for training. A box without foreground is drawn again, except for a share of ``config.keep_empty_box``.

    If no draw meets the foreground, the whole image is taken.

    Returns:
        The view, and the mask rendered by it.
    """
    flip = rng.random() < config.flip
    keep_empty = rng.random() < config.keep_empty_box
    for draw in range(_REDRAWS):
        view = View(random_box(mask.width, mask.height, config.crop_scale, config.crop_ratio, rng), flip)
        rendered = render(mask, view, config.size)
        if keep_empty or _any(rendered) or (draw == 0 and not has_foreground(mask, whole(mask), config.size)):
            return view, rendered
    view = whole(mask)._replace(flip=flip)
    return view, render(mask, view, config.size)


def random_box(
    width: int, height: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """A random box. Its share of the area, the logarithm of its aspect ratio and its place are uniform.

    If ten draws do not fit into the image, it is the largest centred box of an allowed shape.
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
    return _any(render(mask, view, size))


def render(image: Image.Image, view: View, size: int, reduction: int = 1) -> np.ndarray:
    """Cuts, resizes and flips: (size, size, 3) uint8 of an image, (size, size) uint8 of a mask.

    Bilinear with antialiasing: the filter widens when it shrinks, so large images do not alias.

    Args:
        image: the image.
        view: in pixels of the stored image.
        size: side of the result.
        reduction: stored pixels for each pixel of ``image``, in each direction.
    """
    left, top, right, bottom = (edge / reduction for edge in view.box)
    image = image.resize((size, size), FILTER, box=(left, top, right, bottom))
    if view.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.array(image)


def _any(rendered: np.ndarray) -> bool:
    return bool((rendered >= HALF).any())
