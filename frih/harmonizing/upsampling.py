"""Carries the network's change of the colours from its size to the image's own size, and keeps the image's detail.

The network's change is known at S x S pixels. The enlarged change lacks what the network could not see: if a foreground becomes
brighter by a fifth, its finest texture must become stronger by a fifth too. So::

    change at full size = enlarged change + slopes x (image - enlarged composite)

with bicubic enlargement. The bracket is the image's own detail. The slopes, a 3 x 3 matrix, say how the change depends on the
colour from one pixel to the next. Each submask has its own slopes, since the network corrects each by itself. They blend at the
submasks' borders. Where the mask is grey, at either size, they fade, for the detail there belongs to the background too. At the
network's own size the result is the network's image.

``docs/harmonize.md`` lists the other ways that were measured.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.common.processes import cores
from frih.harmonizing.own_images import full
from frih.submasks.patience import Patience

Array = NDArray[np.floating[Any]]

_FINE, _WIDE = 2.0, 16.0
"""Slopes are fitted to detail between these sizes (standard deviations, in the network's pixels). The network may blur finer
detail; wider shades are light, not texture."""
_FINEST = 0.7
"""The detail that this blurs away (a standard deviation, in the network's pixels) decides how far slopes are trusted. It is the
finest octave that the network sees, so it is nearest to the detail that the network does not see."""
_RIDGE = 1e-4
"""Below this variance of the colour, in [0, 1], slopes are pulled towards a default."""
_FEW = 100
"""A submask of fewer pixels has its slopes pulled towards those of the whole foreground."""
_OVER, _BLURRED = 1.1, 1.3
"""Trust begins to fade if the network changes the finest detail by the first times what slopes say; it is 0 at the second."""
_SOFT = 2.0
"""Width over which slopes blend at submasks' borders, in the network's pixels."""
_STRIP = 1 << 15
"""Pixels that are changed at a time."""
PATIENCE = Patience(4_000_000)
"""Foreground pixels that are changed in NumPy: a few usual images. Compiling takes as long."""


class Change(NamedTuple):
    """A change of colours at any size; RGB in [0, 1]."""

    change: Array
    """(S, S, 3): the network's change; outside the mask, that of the nearest foreground."""
    composite: Array
    """(S, S, 3): the image as the network saw it; outside the mask, that of the nearest foreground."""
    slopes: Array
    """(S, S, 3, 3): by channel of the detail and channel of the change."""


def add_change(
    change: Change, pixels: np.ndarray, mask: NDArray[np.uint8], strength: float = 1.0, threads: int | None = None
) -> None:
    """Adds a change to an image of any size, in place and without a copy of the image.

    Args:
        change: as :func:`fit_change` makes it. Its slopes are enlarged bilinearly, the rest bicubically.
        pixels: (H, W, 3 or 4), uint8, uint16, float32 or float64; a fourth channel stays as it is.
        mask: (H, W), 255 = the whole change, 0 = no change.
        strength: share of the change, 0 to 1.
        threads: by default as many as there are cores.
    """
    height, width = mask.shape
    top = full(pixels.dtype)
    rows, columns = (_taps(length, len(change.change)) for length in (height, width))
    share = (strength / 255 * np.arange(256)).astype(np.float32)
    known = np.concatenate([change.change, change.composite], axis=2, dtype=np.float32)
    slopes = np.ascontiguousarray(change.slopes.reshape(*known.shape[:2], 9), dtype=np.float32)
    form = (
        add_rows
        if PATIENCE.lasts(int(np.count_nonzero(mask)))
        else import_module("frih.harmonizing.fast_rows").add_rows
    )
    threads = threads or cores()
    edges = np.linspace(0, height, 4 * threads + 1).astype(int)

    def add(band: int) -> None:
        part = slice(edges[band], edges[band + 1])
        place, weight = rows
        form(pixels[part], mask[part], share, known, slopes, place[part], weight[part], *columns, top)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(4 * threads)))


def fit_change(composite: Array, refined: Array, mask: NDArray[np.bool_], soft_mask: Array, labels: Array) -> Change:
    """Fits a change to the network's result for an image.

    The network sees the foreground through its mask. Where the mask is half transparent, the network's change is half of the
    foreground's change. So it is divided by the mask here, and the mask of full size is applied later.

    Args:
        composite: (S, S, 3) RGB in [0, 1], as the network saw it.
        refined: (S, S, 3) RGB in [0, 1], the network's image.
        mask: (S, S) bool, the foreground, not empty.
        soft_mask: (S, S) in [0, 1], the mask before it was thresholded.
        labels: (S, S) integers, 0 = background, k = submask k.
    """
    change = np.where(mask[..., None], (refined - composite) / np.maximum(soft_mask, 0.5)[..., None], 0)
    slopes = _fit_slopes(composite, change, np.where(mask, soft_mask, 0) ** 2, labels)
    known = mask.astype(np.float32)
    slopes *= np.where(mask, soft_mask, 0.5)[..., None, None]
    return Change(extend(change, known), extend(composite, known), slopes)


def extend(values: Array, weight: Array) -> Array:
    """Fills unknown values from known ones nearby: means over larger and larger squares.

    Otherwise the change would fade towards the mask's border and leave a rim of the old colour at full size.

    Args:
        values: (H, W, C).
        weight: (H, W), 1 = the value is known, 0 = it is unknown.
    """
    height, width = weight.shape
    if (weight >= 1).all():
        return values
    known = values * weight[..., None]
    if height % 2 or width % 2:
        filled = known.sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    else:
        total = weight.reshape(height // 2, 2, width // 2, 2).sum(axis=(1, 3))
        means = known.reshape(height // 2, 2, width // 2, 2, -1).sum(axis=(1, 3)) / np.maximum(total, 1e-6)[..., None]
        filled = _doubled(extend(means, np.minimum(total, 1)))
    return np.asarray(known + (1 - weight)[..., None] * filled, dtype=np.float32)


def _fit_slopes(composite: Array, change: Array, weight: Array, labels: Array) -> Array:
    """(S, S, 3, 3): slopes of the submasks, blended at their borders."""
    both = np.concatenate([composite, change], axis=2)
    coarse = _blurred(both, weight, _FINE)
    middle, fine = coarse - _blurred(both, weight, _WIDE), both - _blurred(both, weight, _FINEST)
    whole = _ridge(middle, weight, 0, np.zeros((3, 3)))
    shares, slopes = [], []
    for label in range(1, int(labels.max()) + 1):
        share = (labels == label).astype(np.float32)
        own = _ridge(middle, weight * share, _FEW, whole)
        slopes.append(own * _trust(own, fine, weight * share))
        shares.append(smooth(share[..., None], _SOFT)[..., 0])
    blend = np.stack(shares, axis=2)
    blend = extend(blend / np.maximum(blend.sum(axis=2, keepdims=True), 1e-6), (labels > 0).astype(np.float32))
    return np.asarray(np.einsum("hwk,kij->hwij", blend, np.stack(slopes)), dtype=np.float32)


def _ridge(values: Array, weight: Array, few: float, towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3): slopes of the last three channels on the first three, pulled towards other slopes if little is known."""
    chosen = weight > 0
    pixels, weights = values[chosen].astype(np.float64), weight[chosen].astype(np.float64)[:, None]
    moments = (pixels[:, :3] * weights).T @ pixels
    penalty = _RIDGE * (weights.sum() + few) * np.eye(3)
    return np.asarray(towards + np.linalg.solve(moments[:, :3] + penalty, moments[:, 3:] - moments[:, :3] @ towards))


def _trust(slopes: NDArray[np.float64], fine: Array, weight: Array) -> float:
    """How much of the slopes the finest detail confirms, 0 to 1.

    Texture need not change as larger parts do. So this is the share of the slopes that fits the finest detail best. A share
    well over 1 shows that the network blurs: it removes more detail than the slopes say. Then the image's own detail is kept.
    """
    chosen = weight > 0
    explained, weights = fine[chosen][:, :3] @ slopes, weight[chosen][:, None]
    agreement = float((weights * explained * fine[chosen][:, 3:]).sum())
    best = agreement / max(float((weights * explained**2).sum()), 1e-12)
    return min(max(min(best, (_BLURRED - best) / (_BLURRED - _OVER)), 0.0), 1.0)


def _blurred(values: Array, weight: Array, sigma: float) -> Array:
    """Weighted means around each pixel, by a Gaussian."""
    both = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
    both = smooth(both, sigma)
    return np.asarray(both[..., :-1] / np.maximum(both[..., -1:], 1e-6))


def smooth(values: Array, sigma: float) -> Array:
    """(S, S, C) convolved with a Gaussian that ends at four standard deviations; beyond the border there is nothing."""
    reach = int(4 * sigma + 0.5)
    gaussian = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    places = np.arange(len(values))
    away = places[:, None] - places
    weights = np.where(np.abs(away) <= reach, gaussian[np.clip(away, -reach, reach) + reach] / gaussian.sum(), 0)
    weights = weights.astype(values.dtype)
    for _ in range(2):  # along the second axis, which becomes the first
        values = np.tensordot(weights, values, axes=(1, 1))
    return values


def _doubled(values: Array) -> Array:
    """(H, W, C) to (2 H, 2 W, C), bilinearly."""
    for axis in (0, 1):
        place = np.arange(2 * values.shape[axis])
        beside = np.clip(place // 2 + np.where(place % 2, 1, -1), 0, values.shape[axis] - 1)
        values = 0.75 * values.take(place // 2, axis) + 0.25 * values.take(beside, axis)
    return values


def _taps(length: int, size: int) -> tuple[NDArray[np.int64], Array]:
    """The places from which each of ``length`` pixels is interpolated among ``size``, and their weights.

    Returns:
        (length, 4) places for bicubic interpolation, the middle two for bilinear interpolation too; and (length, 6) weights:
        four bicubic ones (Keys 1981, a = -0.75, as in PyTorch), then two bilinear ones.
    """
    place = (np.arange(length)[:, None] + 0.5) * (size / length) - 0.5
    left = np.floor(place)
    distance = np.abs(place - left - np.array([-1, 0, 1, 2]))
    near = (1.25 * distance - 2.25) * distance**2 + 1
    far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.concatenate([np.where(distance <= 1, near, far), 1 - distance[:, 1:3]], axis=1)
    places = np.clip(left.astype(np.int64) + np.array([-1, 0, 1, 2]), 0, size - 1)
    return places, weights.astype(np.float32)


def add_rows(
    pixels: np.ndarray,
    mask: NDArray[np.uint8],
    share: Array,
    known: Array,
    slopes: Array,
    row_places: NDArray[np.int64],
    row_weights: Array,
    column_places: NDArray[np.int64],
    column_weights: Array,
    top: float,
) -> None:
    """Adds a change to some rows of an image, in place: the plain form of :func:`frih.harmonizing.fast_rows.add_rows`.

    Args:
        pixels: (H, W, 3 or 4).
        mask: (H, W), how much of the change.
        share: (256,) the factor for each value of the mask.
        known: (S, S, 6): change and composite.
        slopes: (S, S, 9).
        row_places: (H, 4) as :func:`_taps` gives them; the next three likewise.
        row_weights: (H, 6).
        column_places: (W, 4).
        column_weights: (W, 6).
        top: the value of full brightness.
    """
    scale, step = np.float32(top), max(1, _STRIP // pixels.shape[1])
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        row, column = np.nonzero(mask[part])
        if not len(row):
            continue
        places, weights = row_places[part].T, row_weights[part].T[..., None, None]
        known_here = _summed(weights[k] * known[places[k]] for k in range(4))
        slopes_here = _summed(weights[3 + k] * slopes[places[k]] for k in (1, 2))
        places, weights = column_places[column].T, column_weights[column].T[..., None]
        values = _summed(weights[k] * known_here[row, places[k]] for k in range(4))
        slope = _summed(weights[3 + k] * slopes_here[row, places[k]] for k in (1, 2)).reshape(-1, 3, 3)
        cover = mask[part][row, column]
        before = pixels[part][row, column, :3].astype(np.float32) / scale
        detail = (cover.astype(np.float32) / np.float32(255))[:, None] * (before - values[:, 3:])
        added = values[:, :3] + slope[:, 0] * detail[:, :1]
        added = added + slope[:, 1] * detail[:, 1:2] + slope[:, 2] * detail[:, 2:]
        after = np.clip(before + share[cover, None] * added, np.float32(0), np.float32(1))
        pixels[part][row, column, :3] = np.rint(after * scale) if top > 1 else after


def _summed(terms: Iterable[Array]) -> Array:
    """The sum, from left to right."""
    return reduce(np.add, terms)
