"""Colours to their nearest centres, compiled by numba: the step of k-means, exact."""

import numpy as np

from frih.submasks.jit import kernel

BLOCK = 512
"""Colours that stay in the processor's nearest cache while all centres pass."""


@kernel
def assign(palette: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each colour, at equal distance the first of these.

    Args:
        palette: (U, 3) uint8, colours in levels.
        weights: (U,) integers, how often each occurs; their sum is below 2^31.
        centers: (K, 3) int64, K <= 255, in 256ths of a level.

    Returns:
        Its index (U,) uint8; and (K, 4) int64, for each centre the weight of its colours, and the sums of their r, g and b.
    """
    points, best = np.empty((3, BLOCK)), np.empty(BLOCK)
    labels, sums = np.empty(len(palette), np.uint8), np.zeros((len(centers), 4), np.int64)
    for start in range(0, len(palette), BLOCK):
        size = min(BLOCK, len(palette) - start)
        for c in range(3):
            for i in range(size):
                points[c, i] = palette[start + i, c]
        best[:] = np.inf
        for k in range(len(centers)):
            # |a - c|^2 less |a|^2, times 256, plus k: the least of these knows its centre. An integer below 2^44, and so is
            # each of its terms, so float64 holds it exactly.
            r, g, b = -131072.0 * centers[k, 0], -131072.0 * centers[k, 1], -131072.0 * centers[k, 2]
            norm = 256.0 * (centers[k, 0] ** 2 + centers[k, 1] ** 2 + centers[k, 2] ** 2) + k
            for i in range(BLOCK):
                key = norm + r * points[0, i] + g * points[1, i] + b * points[2, i]
                best[i] = key if key < best[i] else best[i]
        for i in range(size):
            k = np.int64(best[i]) & 255
            labels[start + i] = k
            sums[k, 0] += weights[start + i]
            for c in range(3):
                sums[k, 1 + c] += np.int64(weights[start + i]) * palette[start + i, c]
    return labels, sums
