"""The distinct ones among many colours, along a Morton curve: one number whose bits are those of r, g and b in turn.

Colours that are near each other on the curve are near each other in RGB, which :mod:`~frih.submasks.neighbours` relies on.
"""

import numpy as np

from frih.submasks.jit import kernel

_SPREAD = np.array([sum((value >> bit & 1) << 3 * bit for bit in range(8)) for value in range(256)], np.uint32)
"""The bits of a byte, with two empty bits between each two."""


def distinct_colors(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct ones among N colours.

    Args:
        colors: (N, 3) uint8, N < 2^31.

    Returns:
        The U distinct colours (U, 3) uint8 along the Morton curve, how often each occurs (U,) int32, and the index of each
        row's colour (N,) int32.
    """
    return _distinct(np.require(colors, requirements=["C", "W"]))  # one type of array, so that it compiles once


@kernel
def _distinct(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radix sort by Morton code, in three passes of 8 bits. A key is the code, and below it the row."""
    n = len(colors)
    keys, other = np.empty(n, np.uint64), np.empty(n, np.uint64)
    starts = np.zeros((3, 256), np.int64)
    for i in range(n):
        code = int(_SPREAD[colors[i, 0]]) << 2 | int(_SPREAD[colors[i, 1]]) << 1 | int(_SPREAD[colors[i, 2]])
        keys[i] = np.uint64(code) << np.uint64(32) | np.uint64(i)
        for digit in range(3):
            starts[digit, code >> 8 * digit & 255] += 1
    for digit in range(3):
        total = 0
        for value in range(256):
            count = starts[digit, value]
            starts[digit, value] = total
            total += count
        shift = np.uint64(32 + 8 * digit)
        for i in range(n):
            value = keys[i] >> shift & np.uint64(255)
            other[starts[digit, value]] = keys[i]
            starts[digit, value] += 1
        keys, other = other, keys
    palette, weights, rows = np.empty((n, 3), np.uint8), np.zeros(n, np.int32), np.empty(n, np.int32)
    size, last = 0, np.uint64(1 << 24)  # a code that no colour has
    for i in range(n):
        code, row = keys[i] >> np.uint64(32), np.int64(keys[i] & np.uint64(0xFFFFFFFF))
        if code != last:
            palette[size] = colors[row]
            last = code
            size += 1
        weights[size - 1] += 1
        rows[row] = size - 1
    return palette[:size].copy(), weights[:size].copy(), rows
