"""What :mod:`~frih.submasks.compiled` does, in plain NumPy: exact, for where numba is missing or switched off.

Time grows with the square of the number of distinct colours; memory does not, for distances are made in chunks.
"""

import numpy as np

_CHUNK = 1 << 21
"""Distances held at a time."""


def distinct_colors(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct ones among (N, 3) uint8 colours.

    Returns:
        The U distinct colours (U, 3) uint8, how often each occurs (U,) int64, and the index of each row's colour (N,).
    """
    packed = colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    distinct, inverse, weights = np.unique(packed, return_inverse=True, return_counts=True)
    palette = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1).astype(np.uint8)
    return palette, weights.astype(np.int64), inverse.reshape(-1)


class Neighbours:
    """Answers which colours are near each other, for (U, 3) uint8 distinct colours, U >= 1."""

    def __init__(self, palette: np.ndarray) -> None:
        # |a - b|^2 = -2 a.b + |b|^2 + |a|^2 as one matrix product. Every term and every partial sum is an integer below 2^24,
        # so float32 holds it exactly, in whatever order it is summed.
        points = palette.astype(np.float32)
        norms, ones = np.square(points).sum(axis=1), np.ones(len(points), np.float32)
        self.left = np.column_stack([-2 * points, ones, norms])
        self.right = np.vstack([points.T, norms, ones])

    def densities(self, weights: np.ndarray, limit: int) -> np.ndarray:
        """For each colour the sum of the weights at squared distances below ``limit``, its own included: (U,) int64."""
        size = len(self.left)
        kind = np.float32 if weights.sum() < 1 << 24 else np.float64  # the smaller type that holds every sum exactly
        weights = weights.astype(kind)
        density = np.empty(size, np.int64)
        step = max(1, _CHUNK // size)
        for start in range(0, size, step):
            squared = self.left[start : start + step] @ self.right
            density[start : start + step] = (squared < limit).astype(kind) @ weights
        return density

    def nearest_denser(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each colour the nearest of lower rank; at equal distance that of the lowest.

        Args:
            rank: (U,), a permutation of 0 ... U - 1.

        Returns:
            Its index (U,) int64 and its squared distance (U,) int64. For rank 0: itself, and the largest distance to any.
        """
        size = len(rank)
        order = np.argsort(rank)
        left, right = self.left[order], self.right[:, order]
        nearest, squared = np.empty(size, np.int64), np.empty(size, np.int64)
        nearest[order[0]], squared[order[0]] = order[0], (left[:1] @ right).max()
        step = max(1, _CHUNK // size)
        for start in range(1, size, step):
            stop = min(start + step, size)
            distances = left[start:stop] @ right[:, : stop - 1]
            distances[:, start:][np.arange(start, stop - 1) >= np.arange(start, stop)[:, None]] = np.inf
            first = distances.argmin(axis=1)  # the first minimum has the lowest rank
            nearest[order[start:stop]] = order[first]
            squared[order[start:stop]] = distances[np.arange(stop - start), first]
        return nearest, squared


def assign(palette: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each colour, at equal distance the first; see :func:`frih.submasks.assignment.assign`."""
    # |a - c|^2 less |a|^2, in float64, which holds all of it exactly
    scaled, norms = -512.0 * centers.T, np.square(centers.astype(np.float64)).sum(axis=1)
    labels = np.empty(len(palette), np.uint8)
    step = max(1, _CHUNK // len(centers))
    for start in range(0, len(palette), step):
        labels[start : start + step] = (palette[start : start + step] @ scaled + norms).argmin(axis=1)
    terms = [weights, *(weights * palette[:, c].astype(np.int64) for c in range(3))]
    sums = [np.bincount(labels, term, len(centers)) for term in terms]  # float64, of integers below 2^53
    return labels, np.column_stack(sums).astype(np.int64)
