"""The distinct ones among many colours, along a Morton curve: one number whose bits are those of r, g and b in turn.

Colours that are near each other on the curve are near each other in RGB. So the boxes around each :data:`BLOCK` of them are
small, and a tree of boxes tells which colours are near without looking at each.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""Colours in a leaf of the tree."""
FAR = 1000
"""A coordinate that no colour has."""
SPREAD = np.array([sum((value >> bit & 1) << 3 * bit for bit in range(8)) for value in range(256)], np.uint64)
"""The bits of a byte, with two empty bits between each two."""


def distinct_colors(colors: np.ndarray) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """The distinct ones among N colours.

    Args:
        colors: (N, 3) uint8, 0 < N < 2^31.

    Returns:
        The U distinct colours (U, 3) uint8 along the Morton curve, how often each occurs (U,) int32, and the index of each
        row's colour (N,) int32.
    """
    red, green, blue = (SPREAD[colors[:, channel]] for channel in range(3))
    keys = (red << np.uint64(2) | green << np.uint64(1) | blue) << np.uint64(32)  # the code, and below it the row
    keys |= np.arange(len(colors), dtype=np.uint64)
    keys.sort()
    codes, order = keys >> np.uint64(32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    is_first = np.concatenate([[True], codes[1:] != codes[:-1]])
    first = np.flatnonzero(is_first)
    rows = np.empty(len(colors), np.int32)
    rows[order] = np.cumsum(is_first, dtype=np.int32) - 1
    return colors[order[first]], np.diff(first, append=len(colors)).astype(np.int32), rows


def build_boxes(palette: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The tree, as a heap: the children of node k are 2 k and 2 k + 1, and block p is node L + p of 2 L.

    Args:
        palette: (U, 3) uint8, U >= 1, as :func:`distinct_colors` returns it.

    Returns:
        (2 L, 6) int32: least and greatest (r, g, b) of each node. Row 0 is unused. A node without colours has its least above
        its greatest, so it is far from everything.
    """
    starts = np.arange(0, len(palette), BLOCK)
    leaves = 1 << (len(starts) - 1).bit_length()
    boxes = np.repeat(np.array([[FAR, -FAR]], np.int32), 3, axis=1).repeat(2 * leaves, axis=0)
    blocks = slice(leaves, leaves + len(starts))
    boxes[blocks, :3], boxes[blocks, 3:] = np.minimum.reduceat(palette, starts), np.maximum.reduceat(palette, starts)
    while leaves > 1:
        children = boxes[leaves : 2 * leaves].reshape(-1, 2, 6)
        leaves //= 2
        boxes[leaves : 2 * leaves, :3] = children[..., :3].min(axis=1)
        boxes[leaves : 2 * leaves, 3:] = children[..., 3:].max(axis=1)
    return boxes


def ranks(palette: NDArray[np.uint8], density: NDArray[np.int64]) -> NDArray[np.int64]:
    """(U,) int64: 0 for the densest colour, 1 for the next, and so on; of equally dense ones the smaller (r, g, b) first."""
    packed = palette.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    order = np.argsort((density.max() - density << 24) | packed)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank
