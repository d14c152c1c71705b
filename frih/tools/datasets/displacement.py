"""Whether a composite differs from its real image where its mask is, or elsewhere.

Images are compared cell by cell, so that the noise of JPEG and of resizing averages out, and what may be noise is taken off.
``benchmarks/displacement.py`` counts what is found and what is not.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from frih.data.images import HALF

CELLS, SIDE = 64, 4
"""Cells along an image's longer side, at most, and a cell's own pixels, at least: fewer would not average noise out."""
NOISE = 6.0
"""What cells may differ by, in levels, mean of the channels."""
EDGES = 0.5
"""The share of a cell's local contrast that noise may move it by: edges shift when an image is stored again."""
LEAST = 30.0
"""The change that is needed for a judgement, in levels times cells."""

_FOREGROUND = [255 * (value >= HALF) for value in range(256)]
_ANY = [255 * (value > 0) for value in range(256)]


class Change(NamedTuple):
    """Where a composite differs from its real image."""

    inside: float
    """Its change in the mask, in levels times cells."""
    outside: float
    """Its change beyond a cell from the mask."""
    filled: float
    """The share of the cells there that have changed."""

    @property
    def counts(self) -> bool:
        """Whether there is enough of it for a judgement."""
        return self.inside + self.outside > LEAST

    @property
    def elsewhere(self) -> bool:
        """Whether most of it lies outside of the mask."""
        return self.outside > max(self.inside, LEAST)

    @property
    def inverted(self) -> bool:
        """Whether it fills most of what the mask leaves free, so the mask is probably inverted."""
        return self.elsewhere and self.filled > 0.3


def coarse(image: Image.Image) -> Image.Image:
    """The means of an image's cells."""
    scale = min(1 / SIDE, CELLS / max(image.size))
    width, height = (max(1, round(scale * length)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def coarse_mask(mask: Image.Image) -> Image.Image:
    """The share of foreground in a mask's cells, 0 to 255."""
    return coarse(mask.point(_FOREGROUND))


def locate_change(composite: Image.Image, mask: Image.Image, real: Image.Image) -> Change:
    """Where a composite differs from its real image.

    Args:
        composite: of :func:`coarse`, RGB.
        mask: of :func:`coarse_mask`, of the same size.
        real: of :func:`coarse`, RGB, of the same size.
    """
    change = np.abs(_levels(composite) - _levels(real)).mean(-1)
    contrast = (_levels(real.filter(ImageFilter.MaxFilter(3))) - _levels(real.filter(ImageFilter.MinFilter(3)))).mean(
        -1
    )
    everywhere = np.percentile(change, 25)  # as where a whole image was stored with other colours
    certain = np.maximum(change - NOISE - everywhere - EDGES * contrast, 0)
    inside = np.asarray(mask) >= HALF
    outside = np.asarray(mask.point(_ANY).filter(ImageFilter.MaxFilter(3))) == 0
    filled = float((certain[outside] > 0).mean()) if outside.any() else 0.0
    return Change(float(certain[inside].sum()), float(certain[outside].sum()), filled)


def _levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float32)
