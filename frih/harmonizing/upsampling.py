"""From the network's size to an image's own: its change of the colours, carried over with the image's detail kept.

The network's change is known at S x S pixels. Enlarged, it lacks what the network could not see: where a foreground is to be
brighter by a fifth, its finest texture is to be stronger by a fifth as well. So::

    change at full size = enlarged change + slopes x (image - enlarged composite)

with bicubic enlargement. The bracket is the image's own detail, and the slopes, a 3 x 3 matrix, say how the change goes with
the colour from one pixel to the next. Each submask has slopes of its own, since that is what the network corrects one by one;
at the submasks' borders they go over into each other, and at the mask's border they fade, since there the image's detail is
the background's as well. At the network's own size its image comes back as it was.

``docs/harmonize.md`` has the other ways that were measured.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from frih.common.processes import cores

try:
    from frih.submasks.jit import kernel
except ImportError:  # numba is switched off: the same, slowly
    F = TypeVar("F", bound=Callable[..., Any])

    def kernel(function: F) -> F:
        """Leaves a function as it is."""
        return function


Array = NDArray[np.floating[Any]]

_FINE, _WIDE = 2.0, 16.0
"""Slopes are fitted to what lies between these sizes (standard deviations, in the network's pixels): finer detail may be
blurred by the network, wider shades are light and not texture."""
_FINEST = 0.7
"""What this blurs away (a standard deviation, in the network's pixels) decides how far slopes are trusted: it is the last
octave that the network sees, and so the nearest to the detail that it does not."""
_RIDGE = 1e-4
"""Variance of the colour, in [0, 1], below which slopes are held back."""
_FEW = 100
"""Pixels below which a submask's slopes are held back, towards those of the whole foreground."""
_OVER, _BLURRED = 1.1, 1.3
"""Where the network changes the finest detail by more than this times what slopes say, that trust fades, down to none."""
_SOFT, _BORDER = 2.0, 2.0
"""Widths over which slopes go over into each other, and fade at the mask's border, in the network's pixels."""


class Change(NamedTuple):
    """A change of colours at any size; RGB in [0, 1]."""

    change: Array
    """(S, S, 3): of the network; beyond the mask, what is nearest."""
    composite: Array
    """(S, S, 3): the image as the network saw it; beyond the mask, what is nearest."""
    slopes: Array
    """(S, S, 3, 3): by colour of the detail and colour of the change."""


def add_change(change: Change, pixels: np.ndarray, mask: NDArray[np.uint8], strength: float = 1.0) -> None:
    """Adds a change to an image of any size, in place, in two threads or more, and without any copy of it.

    Args:
        change: as :func:`fit_change` makes it; its slopes are enlarged bilinearly, the others bicubically.
        pixels: (H, W, 3 or 4), uint8, uint16, float32 or float64; a fourth channel is left alone.
        mask: (H, W), 255 = all of the change; where it is 0 no pixel is touched.
        strength: share of the change, 0 to 1.
    """
    height, width = mask.shape
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
    rows, columns = (_taps(length, len(change.change)) for length in (height, width))
    share = (strength / 255 * np.arange(256)).astype(np.float32)
    known = np.concatenate([change.change, change.composite], axis=2, dtype=np.float32)
    slopes = np.ascontiguousarray(change.slopes.reshape(*known.shape[:2], 9), dtype=np.float32)
    threads = cores()
    edges = np.linspace(0, height, 4 * threads + 1).astype(int)

    def add(band: int) -> None:
        part = slice(edges[band], edges[band + 1])
        place, weight = rows
        _add_rows(pixels[part], mask[part], share, known, slopes, place[part], weight[part], *columns, top)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(4 * threads)))


def fit_change(composite: Array, refined: Array, mask: NDArray[np.bool_], soft_mask: Array, labels: Array) -> Change:
    """Fits a change to what the network has made of an image.

    The network sees the foreground through its mask: where that is half transparent, the change is half of what the foreground
    itself has to go through. So it is divided by the mask, and the image at full size applies its own mask again.

    Args:
        composite: (S, S, 3) RGB in [0, 1], as the network has seen it.
        refined: (S, S, 3) RGB in [0, 1], the network's image.
        mask: (S, S) bool, the foreground, not empty.
        soft_mask: (S, S) in [0, 1], the mask before it was thresholded.
        labels: (S, S) integers, 0 = background, k = submask k.
    """
    change = np.where(mask[..., None], (refined - composite) / np.maximum(soft_mask, 0.5)[..., None], 0)
    slopes = _fit_slopes(composite, change, np.where(mask, soft_mask, 0) ** 2, labels)
    inside = np.clip(2 * gaussian_filter(mask.astype(np.float32), _BORDER, mode="nearest") - 1, 0, 1)
    known = mask.astype(np.float32)
    return Change(extend(change, known), extend(composite, known), slopes * inside[..., None, None])


def extend(values: Array, weight: Array) -> Array:
    """Fills what is unknown from what is near it: means over ever larger squares.

    So the change does not fade towards the mask's border, which at full size would leave a rim of the old colour.

    Args:
        values: (H, W, C).
        weight: (H, W), 1 where a value is known, 0 where it is not.
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
    smooth = _blurred(both, weight, _FINE)
    middle, fine = smooth - _blurred(both, weight, _WIDE), both - _blurred(both, weight, _FINEST)
    whole = _ridge(middle, weight, 0, np.zeros((3, 3)))
    shares, slopes = [], []
    for label in range(1, int(labels.max()) + 1):
        share = (labels == label).astype(np.float32)
        own = _ridge(middle, weight * share, _FEW, whole)
        slopes.append(own * _trust(own, fine, weight * share))
        shares.append(gaussian_filter(share, _SOFT, mode="constant"))
    blend = np.stack(shares, axis=2)
    blend = extend(blend / np.maximum(blend.sum(axis=2, keepdims=True), 1e-6), (labels > 0).astype(np.float32))
    return np.asarray(np.einsum("hwk,kij->hwij", blend, np.stack(slopes)), dtype=np.float32)


def _ridge(values: Array, weight: Array, few: float, towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3): slopes of the last three channels on the first three, held back towards others where little is known."""
    chosen = weight > 0
    pixels, weights = values[chosen].astype(np.float64), weight[chosen].astype(np.float64)[:, None]
    moments = (pixels[:, :3] * weights).T @ pixels
    penalty = _RIDGE * (weights.sum() + few) * np.eye(3)
    return np.asarray(towards + np.linalg.solve(moments[:, :3] + penalty, moments[:, 3:] - moments[:, :3] @ towards))


def _trust(slopes: NDArray[np.float64], fine: Array, weight: Array) -> float:
    """How much of the slopes the finest detail bears out, 0 to 1.

    Texture need not follow what larger parts do, so what counts is the share of the slopes that fits the finest detail best. A
    share well over 1 is the mark of a network that blurs: it takes more of the detail than the colours tell, and then the
    image's own detail is better left alone.
    """
    chosen = weight > 0
    explained, weights = fine[chosen][:, :3] @ slopes, weight[chosen][:, None]
    agreement = float((weights * explained * fine[chosen][:, 3:]).sum())
    best = agreement / max(float((weights * explained**2).sum()), 1e-12)
    return min(max(min(best, (_BLURRED - best) / (_BLURRED - _OVER)), 0.0), 1.0)


def _blurred(values: Array, weight: Array, sigma: float) -> Array:
    """Weighted means around each pixel, by a Gaussian."""
    both = np.concatenate([values * weight[..., None], weight[..., None]], axis=2)
    both = gaussian_filter(both, (sigma, sigma, 0), mode="constant")
    return np.asarray(both[..., :-1] / np.maximum(both[..., -1:], 1e-6))


def _doubled(values: Array) -> Array:
    """(H, W, C) to (2 H, 2 W, C), bilinearly."""
    for axis in (0, 1):
        place = np.arange(2 * values.shape[axis])
        beside = np.clip(place // 2 + np.where(place % 2, 1, -1), 0, values.shape[axis] - 1)
        values = 0.75 * values.take(place // 2, axis) + 0.25 * values.take(beside, axis)
    return values


def _taps(length: int, size: int) -> tuple[NDArray[np.int64], Array]:
    """Where interpolation from ``size`` to ``length`` looks, and how much each place counts.

    Returns:
        (length, 4) places: bicubic interpolation's, of which the middle two are bilinear interpolation's; and (length, 6)
        weights: four of bicubic interpolation (Keys 1981, a = -0.75, as PyTorch's), two of bilinear.
    """
    place = (np.arange(length)[:, None] + 0.5) * (size / length) - 0.5
    left = np.floor(place)
    distance = np.abs(place - left - np.array([-1, 0, 1, 2]))
    near = (1.25 * distance - 2.25) * distance**2 + 1
    far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.concatenate([np.where(distance <= 1, near, far), 1 - distance[:, 1:3]], axis=1)
    places = np.clip(left.astype(np.int64) + np.array([-1, 0, 1, 2]), 0, size - 1)
    return places, weights.astype(np.float32)


@kernel
def _add_rows(  # type: ignore[no-untyped-def]
    pixels, mask, share, known, slopes, row_places, row_weights, column_places, column_weights, top
) -> None:
    size = known.shape[1]
    known_here, slopes_here = np.empty((size, 6), np.float32), np.empty((size, 9), np.float32)
    change, detail = np.empty(3, np.float32), np.empty(3, np.float32)
    scale, whole = np.float32(top), top > 1
    for row in range(pixels.shape[0]):
        if not mask[row].any():
            continue
        above, below = row_places[row, 1], row_places[row, 2]
        for column in range(size):
            for channel in range(6):
                value = np.float32(0)
                for k in range(4):
                    value += row_weights[row, k] * known[row_places[row, k], column, channel]
                known_here[column, channel] = value
            for entry in range(9):
                upper, lower = slopes[above, column, entry], slopes[below, column, entry]
                slopes_here[column, entry] = row_weights[row, 4] * upper + row_weights[row, 5] * lower
        for column in range(pixels.shape[1]):
            if mask[row, column] == 0:
                continue
            left, right = column_places[column, 1], column_places[column, 2]
            for channel in range(3):
                added, seen = np.float32(0), np.float32(0)
                for k in range(4):
                    weight, place = column_weights[column, k], column_places[column, k]
                    added += weight * known_here[place, channel]
                    seen += weight * known_here[place, 3 + channel]
                change[channel] = added
                detail[channel] = np.float32(pixels[row, column, channel]) / scale - seen
            for channel in range(3):
                added = change[channel]
                for given in range(3):
                    slope = column_weights[column, 4] * slopes_here[left, 3 * given + channel]
                    slope += column_weights[column, 5] * slopes_here[right, 3 * given + channel]
                    added += slope * detail[given]
                before = np.float32(pixels[row, column, channel]) / scale
                after = min(max(before + share[mask[row, column]] * added, np.float32(0)), np.float32(1))
                pixels[row, column, channel] = np.rint(after * scale) if whole else after
