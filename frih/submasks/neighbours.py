"""Which colours are near each other: exact, in NumPy.

:mod:`~frih.submasks.fast_neighbours` gives the same, much faster once it is compiled. All values are integers, or float32 that
holds only integers below 2^24, so nothing is rounded, in whatever order BLAS adds.
"""

import numpy as np
from numpy.typing import NDArray

from frih.submasks.palette import BLOCK

_BLOCKS = 8
"""Blocks of the palette that are compared at once, a power of two."""
_REACH = 6
"""Levels up to which the nearest denser colour is looked for place by place."""
_FEW = 4000
"""So many colours are quickly compared with each other."""
_ROWS = 64
"""Colours that are compared with all others at once."""


def densities(palette: np.ndarray, boxes: np.ndarray, weights: np.ndarray, limit: int) -> NDArray[np.int64]:
    """For each colour the sum of the weights at squared distances below ``limit``, its own included.

    Args:
        palette: (U, 3) uint8, as :func:`~frih.submasks.palette.distinct_colors` returns it.
        boxes: its tree.
        weights: (U,) integers; their sum is below 2^31.
        limit: in squared levels.

    Returns:
        (U,) int64.
    """
    count, step = len(palette), BLOCK * _BLOCKS
    starts = np.arange(0, count, step)
    level = max(1, len(boxes) // 2 // _BLOCKS)  # of the tree, whose nodes are so many blocks
    low, high = boxes[level : level + len(starts), :3], boxes[level : level + len(starts), 3:]
    points = palette.astype(np.float32)
    norms = np.square(points).sum(axis=1)
    columns = np.concatenate(
        [-2 * points, norms[:, None]], axis=1
    )  # |a - b|^2 < limit as |b|^2 - 2 a.b < limit - |a|^2
    rows = np.concatenate([points, np.ones((count, 1), np.float32)], axis=1)
    mass = np.add.reduceat(weights, starts, dtype=np.int64)
    density = np.empty(count, np.int64)
    for p, start in enumerate(starts):
        own = slice(start, start + step)
        up, down = high - low[p], high[p] - low
        least = np.square(np.maximum(0, -np.minimum(up, down))).sum(axis=1)
        greatest = np.square(np.maximum(up, down)).sum(axis=1)
        some = np.repeat((least < limit) & (greatest >= limit), step)[:count]
        near = rows[own] @ columns[some].T < limit - norms[own, None]
        density[own] = mass[greatest < limit].sum() + _sums(near, weights[some])
    return density


def nearest_denser(
    palette: np.ndarray, boxes: np.ndarray, rank: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each colour the nearest one of lower rank; of several, the one of the lowest rank.

    Most have one within a few levels. So the places around each colour are looked up, the nearer first; the colours without one
    there are compared with all that are denser.

    Args:
        palette: (U, 3) uint8.
        boxes: its tree; not needed here.
        rank: (U,) int64, a permutation of 0 ... U - 1.

    Returns:
        Its index (U,) int64 and its squared distance (U,) int64. For rank 0: itself, and the largest distance to any colour.
    """
    count = len(palette)
    by_rank = np.empty(count, np.int64)
    by_rank[rank] = np.arange(count)
    nearest, squared = np.empty(count, np.int64), np.empty(count, np.int64)
    left = np.flatnonzero(rank > 0)
    if count > _FEW:
        left = _look_around(palette, rank, by_rank, nearest, squared)
    points = palette[by_rank].astype(np.float32)
    norms = np.square(points).sum(axis=1)
    ranks = np.sort(rank[left])
    for start in range(0, len(ranks), _ROWS):
        some = ranks[start : start + _ROWS]
        distances = norms[: some[-1]] - 2 * points[some] @ points[: some[-1]].T
        distances[np.arange(some[-1]) >= some[:, None]] = np.inf
        best = distances.argmin(axis=1)  # the first of several, which is the densest
        nearest[by_rank[some]] = by_rank[best]
        squared[by_rank[some]] = distances[np.arange(len(some)), best] + norms[some]
    densest = by_rank[0]
    nearest[densest] = densest
    squared[densest] = np.square(palette.astype(np.int64) - palette[densest]).sum(axis=1).max()
    return nearest, squared


def _look_around(
    palette: np.ndarray,
    rank: NDArray[np.int64],
    by_rank: NDArray[np.int64],
    nearest: NDArray[np.int64],
    squared: NDArray[np.int64],
) -> NDArray[np.intp]:
    """Fills in the nearest denser colours that lie within _REACH; returns the indices of the others, without the densest."""
    side = 256 + 2 * _REACH
    strides = np.array([side * side, side, 1])
    cube = np.full(side**3, len(palette), np.int32)  # the rank of the colour at each place; none is as high as this
    places = (palette.astype(np.int64) + _REACH) @ strides
    cube[places] = rank
    around = np.stack(np.meshgrid(*3 * [np.arange(-_REACH, _REACH + 1)]), axis=-1).reshape(-1, 3)
    distances, steps = np.square(around).sum(axis=1), around @ strides
    left = np.flatnonzero(rank > 0)
    for distance in range(1, _REACH**2 + 1):
        best = cube[places[left, None] + steps[distances == distance]].min(axis=1, initial=len(palette))
        found = best < rank[left]
        nearest[left[found]], squared[left[found]] = by_rank[best[found]], distance
        left = left[~found]
    return left


def _sums(near: NDArray[np.bool_], weights: np.ndarray) -> NDArray[np.int64]:
    """(N,) int64: for each row of (N, M), the sum of the weights (M,) where it is true."""
    if weights.sum() < 1 << 24:
        return (near.astype(np.float32) @ weights.astype(np.float32)).astype(np.int64)
    return (near.astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)
