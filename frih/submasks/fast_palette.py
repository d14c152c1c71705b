"""The distinct colours and their order, once it is compiled: by counting digits, which costs no comparison."""

import numpy as np

from frih.submasks.jit import kernel
from frih.submasks.palette import BLOCK, FAR, SPREAD

_DIGIT = 12
"""Bits that are sorted at once: so many counters stay in the processor's nearest cache."""


@kernel
def distinct_colors(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`frih.submasks.palette.distinct_colors`."""
    n = len(colors)
    codes = np.empty(n, np.int64)
    for i in range(n):
        codes[i] = SPREAD[colors[i, 0]] << 2 | SPREAD[colors[i, 1]] << 1 | SPREAD[colors[i, 2]]
    order = _order(codes, 24)
    palette, weights, rows = np.empty((n, 3), np.uint8), np.zeros(n, np.int32), np.empty(n, np.int32)
    count = 0
    for k in range(n):
        i = order[k]
        if k == 0 or codes[i] != codes[order[k - 1]]:
            for c in range(3):
                palette[count, c] = colors[i, c]
            count += 1
        weights[count - 1] += 1
        rows[i] = count - 1
    return palette[:count].copy(), weights[:count].copy(), rows


@kernel
def ranks(palette: np.ndarray, density: np.ndarray) -> np.ndarray:
    """As :func:`frih.submasks.palette.ranks`."""
    n, most = len(palette), density.max()
    keys, rank = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        packed = np.int64(palette[i, 0]) << 16 | np.int64(palette[i, 1]) << 8 | np.int64(palette[i, 2])
        keys[i] = (most - density[i]) << 24 | packed
    order, bits = _order(keys, 24), 24  # most colours of a foreground are rare, so the largest key has few bits
    while most >> (bits - 24):
        order, bits = _sorted(keys, order, bits), bits + _DIGIT
    for k in range(n):
        rank[order[k]] = k
    return rank


@kernel
def _order(keys: np.ndarray, bits: int) -> np.ndarray:
    """The order of keys by their lowest bits, of equal ones the first first."""
    order = np.arange(len(keys)).astype(np.int32)
    for shift in range(0, bits, _DIGIT):
        order = _sorted(keys, order, shift)
    return order


@kernel
def _sorted(keys: np.ndarray, order: np.ndarray, shift: int) -> np.ndarray:
    """An order, sorted by one digit of the keys; of equal ones, the first stays the first."""
    places, after = np.zeros((1 << _DIGIT) + 1, np.int64), np.empty(len(order), np.int32)
    for key in keys:
        places[(key >> shift & (1 << _DIGIT) - 1) + 1] += 1
    for digit in range(1 << _DIGIT):
        places[digit + 1] += places[digit]
    for i in order:
        digit = keys[i] >> shift & (1 << _DIGIT) - 1
        after[places[digit]] = i
        places[digit] += 1
    return after


@kernel
def build_boxes(palette: np.ndarray) -> np.ndarray:
    """As :func:`frih.submasks.palette.build_boxes`."""
    blocks, leaves = (len(palette) + BLOCK - 1) // BLOCK, 1
    while leaves < blocks:
        leaves *= 2
    boxes = np.empty((2 * leaves, 6), np.int32)
    boxes[:, :3], boxes[:, 3:] = FAR, -FAR
    for i in range(len(palette)):
        _include(boxes[leaves + i // BLOCK], palette[i], palette[i])
    for node in range(2 * leaves - 1, 1, -1):
        _include(boxes[node // 2], boxes[node, :3], boxes[node, 3:])
    return boxes


@kernel
def _include(box: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    for c in range(3):
        box[c], box[3 + c] = min(box[c], low[c]), max(box[3 + c], high[c])
