"""The step of k-means that costs time, once it is compiled."""

import numpy as np

from frih.submasks.jit import kernel

_BLOCK = 512
"""Colours that stay in the processor's nearest cache while they are compared with all centres."""


@kernel
def assign(palette: np.ndarray, weights: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`frih.submasks.kmeans.assign`."""
    points, best = np.zeros((3, _BLOCK)), np.empty(_BLOCK)
    labels, sums = np.empty(len(palette), np.uint8), np.zeros((len(centers), 4), np.int64)
    for start in range(0, len(palette), _BLOCK):
        size = min(_BLOCK, len(palette) - start)
        for c in range(3):
            for i in range(size):
                points[c, i] = palette[start + i, c]
        best[:] = np.inf
        for k in range(len(centers)):
            r, g, b = -131072.0 * centers[k, 0], -131072.0 * centers[k, 1], -131072.0 * centers[k, 2]
            norm = 256.0 * (centers[k, 0] ** 2 + centers[k, 1] ** 2 + centers[k, 2] ** 2) + k
            for i in range(_BLOCK):
                key = norm + r * points[0, i] + g * points[1, i] + b * points[2, i]
                best[i] = key if key < best[i] else best[i]
        for i in range(size):
            k = np.int64(best[i]) & 255
            labels[start + i] = k
            sums[k, 0] += weights[start + i]
            for c in range(3):
                sums[k, 1 + c] += np.int64(weights[start + i]) * palette[start + i, c]
    return labels, sums
