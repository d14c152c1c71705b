"""Densities of hundreds of thousands of colours, as images of many megapixels have: exact, by sums along columns.

A column is all blues of one (r, g). The ball of the cutoff around a colour cuts each column near by in one interval, whose
weight is the difference of two running sums. From blue to blue of a column the intervals only move by one, so one loop, which
fills the vector unit, adds them up for all blues at once. The cost grows with the columns times the area of the ball's disc, no
longer with the number of colours.
"""

import numpy as np

from frih.submasks.jit import kernel

WIDTH = 64
"""Loops run over multiples of this, which suits the vector unit better than an exact end."""


def suit(size: int, limit: int) -> bool:
    """Whether so many distinct colours and so near a cutoff make columns faster than a tree; found by measuring."""
    return size > 1 << 18 and size > 256 * limit


def column_densities(palette: np.ndarray, weights: np.ndarray, limit: int) -> np.ndarray:
    """For each of U distinct colours the sum of the weights at squared distances below ``limit``: (U,) int64."""
    order = np.argsort(palette[:, 0], kind="stable")
    low, high = palette.min(axis=0).astype(np.int64), palette.max(axis=0).astype(np.int64)
    density = np.empty(len(palette), np.int64)
    density[order] = _densities(palette[order] - low, weights[order], high - low + 1, limit)
    return density


@kernel
def _densities(palette: np.ndarray, weights: np.ndarray, shape: np.ndarray, limit: int) -> np.ndarray:
    """Colours (U, 3) int64, r ascending, within a box of ``shape`` at the origin."""
    reach = min(_half(limit), 255)
    sums, first, last = _sum_columns(palette, weights, shape, reach)
    density = np.empty((shape[1], shape[2] + WIDTH), np.int32)
    result = np.empty(len(palette), np.int64)
    i = 0
    for r in range(shape[0]):
        density[:] = 0
        for s in range(max(0, r - reach), min(shape[0], r + reach + 1)):
            _add_slice(density, first[r], last[r], sums[s], last[s], limit - (r - s) ** 2, reach)
        while i < len(palette) and palette[i, 0] == r:
            result[i] = density[palette[i, 1], palette[i, 2]]
            i += 1
    return result


@kernel
def _sum_columns(
    palette: np.ndarray, weights: np.ndarray, shape: np.ndarray, reach: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Running sums, with room for the ball on both sides, and each column's first and last blue (last < 0: no colours).

    Entry (r, g, reach + 1 + b) of the sums is the weight of the colours (r, g, 0 ... b).
    """
    sums = np.zeros((shape[0], shape[1], shape[2] + 2 * reach + 1 + WIDTH), np.int32)
    first, last = np.full((shape[0], shape[1]), 256), np.full((shape[0], shape[1]), -1)
    for i in range(len(palette)):
        r, g, b = palette[i]
        sums[r, g, reach + 1 + b] = weights[i]
        first[r, g], last[r, g] = min(first[r, g], b), max(last[r, g], b)
    for r in range(shape[0]):
        for g in range(shape[1]):
            if last[r, g] >= 0:
                for k in range(reach + 2 + first[r, g], sums.shape[2]):
                    sums[r, g, k] += sums[r, g, k - 1]
    return sums, first, last


@kernel
def _add_slice(
    density: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    sums: np.ndarray,
    others: np.ndarray,
    limit: int,
    reach: int,
) -> None:
    """Adds to the densities of one red what a slice of another red holds; ``limit`` is what is left for g and b."""
    disc = min(_half(limit), 255)
    halves = np.array([min(_half(limit - e * e), reach) for e in range(disc + 1)])
    for g in range(len(density)):
        if last[g] < 0:
            continue
        length = (last[g] - first[g]) // WIDTH * WIDTH + WIDTH
        row = density[g, first[g] : first[g] + length]
        for t in range(max(0, g - disc), min(len(density), g + disc + 1)):
            if others[t] >= 0:
                half, middle = halves[abs(t - g)], reach + first[g]
                upper = sums[t, middle + half + 1 : middle + half + 1 + length]
                lower = sums[t, middle - half : middle - half + length]
                for k in range(length):
                    row[k] += upper[k] - lower[k]


@kernel
def _half(limit: int) -> int:
    """The largest integer whose square is below ``limit`` > 0."""
    half = int(np.sqrt(limit))
    while half * half >= limit:
        half -= 1
    while (half + 1) ** 2 < limit:
        half += 1
    return half
