"""How much of a picture's error a correction by region could take away, were it known: what submasks have to offer at most."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Colors = NDArray[np.float64]

FEW = 30
"""Pixels below which a region is only shifted: an affine map has twelve numbers."""


class Headroom(NamedTuple):
    """Mean squared errors in the foreground, 0..255 squared."""

    before: float
    """Of the picture as it is."""
    shift_mask: float
    """After the best change of colour that is the same in the whole mask: three numbers."""
    shift_submasks: float
    """After the best such change for each submask."""
    affine_mask: float
    """After the best affine map of RGB, twelve numbers, for the whole mask."""
    affine_submasks: float
    """After the best affine map for each submask."""


def headroom(picture: Colors, real: Colors, labels: NDArray[np.uint8]) -> Headroom:
    """Corrects a foreground as well as corrections of each kind can, knowing the real picture.

    Args:
        picture: (H, W, 3), 0..255.
        real: (H, W, 3), 0..255.
        labels: (H, W), 0 = background, k = submask k. At least one pixel must be foreground.

    Raises:
        ValueError: there is no foreground.
    """
    inside = labels > 0
    if not inside.any():
        raise ValueError("labels: no pixel is foreground")
    x, y, label = picture[inside], real[inside], labels[inside]
    whole = [np.ones(len(label), dtype=bool)]
    submasks = [label == k for k in np.unique(label)]
    return Headroom(
        float(np.square(y - x).mean()),
        *(_remaining(x, y, regions, fit) for fit in (_shift, _affine) for regions in (whole, submasks)),
    )


def _remaining(
    x: Colors, y: Colors, regions: list[NDArray[np.bool_]], fit: Callable[[Colors, Colors], Colors]
) -> float:
    return float(sum(np.square(y[region] - fit(x[region], y[region])).sum() for region in regions) / y.size)


def _shift(x: Colors, y: Colors) -> Colors:
    """The colours x (N, 3), moved as one so that they are as near to y as they can be."""
    shifted: Colors = x + (y - x).mean(axis=0)
    return shifted


def _affine(x: Colors, y: Colors) -> Colors:
    """The colours x (N, 3), by the affine map that brings them nearest to y."""
    if len(x) < FEW:
        return _shift(x, y)
    terms = np.column_stack([x, np.ones(len(x))])
    mapped: Colors = terms @ np.linalg.lstsq(terms, y, rcond=None)[0]
    return mapped
