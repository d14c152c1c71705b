"""Adds a change to rows of an image, once it is compiled. :func:`frih.harmonizing.upsampling.add_rows` gives the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from frih.submasks.jit import float_kernel

_Floats = NDArray[np.floating[Any]]


@float_kernel
def add_rows(
    pixels: np.ndarray,
    mask: NDArray[np.uint8],
    share: _Floats,
    known: _Floats,
    slopes: _Floats,
    row_places: NDArray[np.int64],
    row_weights: _Floats,
    column_places: NDArray[np.int64],
    column_weights: _Floats,
    top: float,
) -> None:
    """As :func:`frih.harmonizing.upsampling.add_rows`, whose operations these are, one pixel after the other."""
    size = known.shape[1]
    known_here, slopes_here = np.empty((size, 6), np.float32), np.empty((size, 9), np.float32)
    change, detail = np.empty(3, np.float32), np.empty(3, np.float32)
    scale, whole = np.float32(top), top > 1
    for row in range(pixels.shape[0]):
        covered = 0
        for column in range(pixels.shape[1]):
            covered |= mask[row, column]
        if not covered:
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
            cover = np.float32(mask[row, column]) / np.float32(255)
            for channel in range(3):
                added, seen = np.float32(0), np.float32(0)
                for k in range(4):
                    weight, place = column_weights[column, k], column_places[column, k]
                    added += weight * known_here[place, channel]
                    seen += weight * known_here[place, 3 + channel]
                change[channel] = added
                detail[channel] = cover * (np.float32(pixels[row, column, channel]) / scale - seen)
            for channel in range(3):
                added = change[channel]
                for given in range(3):
                    slope = column_weights[column, 4] * slopes_here[left, 3 * given + channel]
                    slope += column_weights[column, 5] * slopes_here[right, 3 * given + channel]
                    added += slope * detail[given]
                before = np.float32(pixels[row, column, channel]) / scale
                after = min(max(before + share[mask[row, column]] * added, np.float32(0)), np.float32(1))
                pixels[row, column, channel] = np.rint(after * scale) if whole else after
