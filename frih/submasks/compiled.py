"""Neighbours among colours, compiled by numba: exact, in milliseconds.

The distinct colours are sorted along a Morton curve (the bits of r, g and b in turn) and cut into blocks of 32, over which a
binary tree of bounding boxes stands. It answers both questions, in integers throughout, or in float32 where all values are
integers below 2^24 and therefore exact.

* **Density.** Two boxes that lie within the cutoff of each other throughout count each other's colours as a whole; two that lie
  beyond it throughout need no count. Only pairs of blocks about the cutoff apart are compared colour by colour, each pair once
  for both, in a loop that fills the vector unit. It is exact because two boxes' least and greatest distances bound those of the
  colours in them.
* **Nearest denser colour.** From a colour's own block the search climbs to the root, and on its way looks into each other
  subtree, the nearer box first, unless that is too far or holds nothing denser. It is exact because such a subtree cannot hold
  the least pair (squared distance, rank), which is the answer.

Sorting and the tree cost O(N + U) for U distinct colours among N. Densities cost O(U^2) at worst, but only the shell of
undecided blocks is compared; of so many colours that this would tell, :mod:`~frih.submasks.columns` finds the densities
instead. A search for the nearest meets a few dozen boxes. ``python benchmarks/submasks.py`` measures all this.
"""

import numpy as np

from frih.submasks.assignment import assign
from frih.submasks.columns import column_densities, suit
from frih.submasks.jit import kernel

__all__ = ["Neighbours", "assign", "distinct_colors"]

BLOCK = 32
"""Colours in a leaf of the tree."""
FAR = 1000
"""A coordinate that no colour has: fills the last block, and is the box of an empty node."""
NONE = 1 << 24
"""A rank that no colour has."""
NEVER = 1 << 62
"""A bound that nothing beats."""
TABLE_ROWS = 1 << 20
"""From so many rows on, distinct colours are counted in a table of all 2^24, whose 64 MB are then the lesser cost."""

SPREAD = np.array([sum((value >> bit & 1) << 3 * bit for bit in range(8)) for value in range(256)], np.uint32)
"""The bits of a byte, each followed by room for two others."""


def distinct_colors(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct ones among (N, 3) uint8 colours, N < 2^31.

    Returns:
        The U distinct colours (U, 3) uint8 along the Morton curve, how often each occurs (U,) int32, and the index of each
        row's colour (N,) int32.
    """
    colors = np.require(colors, requirements=["C", "W"])  # one type of array, so that it compiles once
    return _distinct_by_sorting(colors) if len(colors) < TABLE_ROWS else _distinct_by_table(colors)


class Neighbours:
    """Answers which colours are near each other, for U >= 1 distinct colours as :func:`distinct_colors` returns them."""

    def __init__(self, palette: np.ndarray) -> None:
        self.palette = palette
        self.boxes = _build_boxes(palette)

    def densities(self, weights: np.ndarray, limit: int) -> np.ndarray:
        """For each colour the sum of the weights at squared distances below ``limit``, its own included: (U,) int64."""
        if suit(len(self.palette), limit):
            return column_densities(self.palette, weights, limit)
        return _densities(self.palette, self.boxes, weights, limit)

    def nearest_denser(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each colour the nearest of lower rank; at equal distance that of the lowest.

        Args:
            rank: (U,) int64, a permutation of 0 ... U - 1.

        Returns:
            Its index (U,) int64 and its squared distance (U,) int64. For rank 0: itself, and the largest distance to any.
        """
        return _nearest_denser(self.palette, self.boxes, rank)


@kernel
def _distinct_by_sorting(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radix sort by Morton code, in three passes of 8 bits, each key with its row below it."""
    n = len(colors)
    keys, other = np.empty(n, np.uint64), np.empty(n, np.uint64)
    starts = np.zeros((3, 256), np.int64)
    for i in range(n):
        code = _morton(colors, i)
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
    last, size = np.uint64(NEVER), 0
    for i in range(n):
        code, row = keys[i] >> np.uint64(32), np.int64(keys[i] & np.uint64(0xFFFFFFFF))
        if code != last:
            _write_color(palette, size, np.int64(code))
            last = code
            size += 1
        weights[size - 1] += 1
        rows[row] = size - 1
    return palette[:size].copy(), weights[:size].copy(), rows


@kernel
def _distinct_by_table(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts in a table over all Morton codes, which then holds each colour's index."""
    n = len(colors)
    table = np.zeros(1 << 24, np.int32)
    size = 0
    for i in range(n):
        code = _morton(colors, i)
        size += table[code] == 0
        table[code] += 1
    palette, weights, rows = np.empty((size, 3), np.uint8), np.empty(size, np.int32), np.empty(n, np.int32)
    index = 0
    for code in range(1 << 24):
        if table[code]:
            weights[index] = table[code]
            _write_color(palette, index, code)
            table[code] = index
            index += 1
    for i in range(n):
        rows[i] = table[_morton(colors, i)]
    return palette, weights, rows


@kernel
def _morton(colors: np.ndarray, i: int) -> int:
    return int(SPREAD[colors[i, 0]]) << 2 | int(SPREAD[colors[i, 1]]) << 1 | int(SPREAD[colors[i, 2]])


@kernel
def _write_color(palette: np.ndarray, index: int, code: int) -> None:
    """Takes a Morton code apart again: every third bit, drawn together in pairs, then fours, then eights."""
    for c in range(3):
        bits = code >> 2 - c & 0x249249
        bits = (bits | bits >> 2) & 0x0C30C3
        bits = (bits | bits >> 4) & 0x00F00F
        palette[index, c] = (bits | bits >> 8) & 0xFF


@kernel
def _build_boxes(palette: np.ndarray) -> np.ndarray:
    """The tree, laid out as a heap: node k's children are 2 k and 2 k + 1, and block p is node L + p of 2 L.

    Returns:
        (2 L, 6) int32: least and greatest (r, g, b) of each node. Row 0 means nothing; nodes without colours are turned inside
        out, and so far from everything.
    """
    leaves = 1
    while leaves * BLOCK < len(palette):
        leaves *= 2
    boxes = np.empty((2 * leaves, 6), np.int32)
    boxes[:, :3] = FAR
    boxes[:, 3:] = -FAR
    for i in range(len(palette)):
        node = leaves + i // BLOCK
        for c in range(3):
            boxes[node, c] = min(boxes[node, c], np.int32(palette[i, c]))
            boxes[node, 3 + c] = max(boxes[node, 3 + c], np.int32(palette[i, c]))
    for node in range(leaves - 1, 0, -1):
        for c in range(3):
            boxes[node, c] = min(boxes[2 * node, c], boxes[2 * node + 1, c])
            boxes[node, 3 + c] = max(boxes[2 * node, 3 + c], boxes[2 * node + 1, 3 + c])
    return boxes


@kernel
def _densities(palette: np.ndarray, boxes: np.ndarray, weights: np.ndarray, limit: int) -> np.ndarray:
    n, leaves = len(palette), len(boxes) // 2
    blocks = (n + BLOCK - 1) // BLOCK
    points = np.full((4, blocks * BLOCK), np.float32(FAR))  # r, g, b, r^2 + g^2 + b^2
    mass, heavy = np.zeros(2 * leaves, np.int32), np.zeros(blocks * BLOCK, np.int32)
    for i in range(n):
        r, g, b = np.int32(palette[i, 0]), np.int32(palette[i, 1]), np.int32(palette[i, 2])
        points[0, i], points[1, i], points[2, i], points[3, i] = r, g, b, r * r + g * g + b * b
        heavy[i] = weights[i]
        mass[leaves + i // BLOCK] += weights[i]
    for node in range(leaves - 1, 0, -1):
        mass[node] = mass[2 * node] + mass[2 * node + 1]
    density, whole, unused = (
        np.zeros(blocks * BLOCK, np.int32),
        np.zeros(2 * leaves, np.int32),
        np.empty(BLOCK, np.int32),
    )

    # For each node on the way to the present block, the nodes of its level, itself or later ones, that are neither within the
    # cutoff of it throughout nor beyond it. The list of level l (0 = blocks) starts at L / 2^l.
    undecided, sizes = np.empty(2 * leaves + 1, np.int32), np.zeros(32, np.int64)
    top = 0
    while leaves >> top > 1:
        top += 1
    for p in range(blocks):
        level = top  # the highest level at which the way to this block parts from the way to the last
        if p:
            level = 0
            while not p >> level & 1:
                level += 1
        while level >= 0:
            node, start, size = leaves + p >> level, leaves >> level, 0
            if level == top:
                size = _decide(boxes, mass, whole, undecided, start, size, 1, 1, limit)
            else:
                for k in range(start >> 1, (start >> 1) + sizes[level + 1]):
                    for other in range(max(node, 2 * undecided[k]), 2 * undecided[k] + 2):
                        size = _decide(boxes, mass, whole, undecided, start, size, node, other, limit)
            sizes[level] = size
            level -= 1
        k = leaves
        while k < leaves + sizes[0]:
            first = undecided[k]
            last = first + 1
            k += 1
            if first == leaves + p:
                _compare(points, heavy, density, unused, p, p, p + 1, limit)
                continue
            while k < leaves + sizes[0] and undecided[k] == last:  # a run of blocks is one long loop
                last += 1
                k += 1
            run = density[(first - leaves) * BLOCK : (last - leaves) * BLOCK]
            _compare(points, heavy, density, run, p, first - leaves, last - leaves, limit)
    for node in range(2, 2 * leaves):
        whole[node] += whole[node >> 1]
    result = np.empty(n, np.int64)
    for i in range(n):
        result[i] = density[i] + whole[leaves + i // BLOCK]
    return result


@kernel
def _decide(
    boxes: np.ndarray,
    mass: np.ndarray,
    whole: np.ndarray,
    undecided: np.ndarray,
    start: int,
    size: int,
    node: int,
    other: int,
    limit: int,
) -> int:
    """Counts two nodes as a whole, leaves them out, or puts the other on the list; returns the list's new size."""
    least, greatest = 0, 0
    for c in range(3):
        up = boxes[other, 3 + c] - boxes[node, c]
        down = boxes[node, 3 + c] - boxes[other, c]
        gap, span = max(0, -min(up, down)), max(up, down)
        least += gap * gap
        greatest += span * span
    if greatest < limit:
        whole[node] += mass[other]
        if node != other:
            whole[other] += mass[node]
        return size
    undecided[start + size] = other  # written in any case, kept if counted: no branch to mispredict
    return size + (least < limit)


@kernel
def _compare(
    points: np.ndarray,
    heavy: np.ndarray,
    density: np.ndarray,
    run: np.ndarray,
    p: int,
    first: int,
    last: int,
    limit: int,
) -> None:
    """Compares each colour of block p with those of blocks first ... last - 1, and adds the weights to both sides."""
    r, g, b = (
        points[0, first * BLOCK : last * BLOCK],
        points[1, first * BLOCK : last * BLOCK],
        points[2, first * BLOCK :],
    )
    norms, weights = points[3, first * BLOCK : last * BLOCK], heavy[first * BLOCK : last * BLOCK]
    for i in range(p * BLOCK, (p + 1) * BLOCK):
        # |a - b|^2 < limit as |b|^2 - 2 a.b < limit - |a|^2
        x, y, z = np.float32(-2) * points[0, i], np.float32(-2) * points[1, i], np.float32(-2) * points[2, i]
        bound, own, total = np.float32(limit) - points[3, i], heavy[i], np.int32(0)
        for j in range((last - first) * BLOCK):
            near = norms[j] + x * r[j] + y * g[j] + z * b[j] < bound
            total += weights[j] if near else np.int32(0)
            run[j] += own if near else np.int32(0)
        density[i] += total


@kernel
def _nearest_denser(palette: np.ndarray, boxes: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n, leaves = len(palette), len(boxes) // 2
    blocks = (n + BLOCK - 1) // BLOCK
    points, ranks = np.full((3, blocks, BLOCK), np.int32(FAR)), np.full((blocks, BLOCK), np.int32(NONE))
    densest, colors = np.full(2 * leaves, np.int32(NONE)), np.empty(n, np.int64)
    for i in range(n):
        p, k = i // BLOCK, i % BLOCK
        for c in range(3):
            points[c, p, k] = palette[i, c]
        ranks[p, k] = rank[i]
        densest[leaves + p] = min(densest[leaves + p], np.int32(rank[i]))
        colors[rank[i]] = i
    for node in range(leaves - 1, 0, -1):
        densest[node] = min(densest[2 * node], densest[2 * node + 1])
    nearest, squared = np.empty(n, np.int64), np.empty(n, np.int64)
    stack, bounds = np.empty(64, np.int64), np.empty(64, np.int64)
    for i in range(n):
        if rank[i] == 0:
            nearest[i], squared[i] = i, _farthest(palette, i)
        else:
            best = _climb(points, ranks, boxes, densest, stack, bounds, i // BLOCK, i % BLOCK)
            nearest[i], squared[i] = colors[best & NONE - 1], best >> 24
    return nearest, squared


@kernel
def _climb(
    points: np.ndarray,
    ranks: np.ndarray,
    boxes: np.ndarray,
    densest: np.ndarray,
    stack: np.ndarray,
    bounds: np.ndarray,
    p: int,
    k: int,
) -> int:
    """The nearest denser colour of colour k of block p, as squared distance x 2^24 + rank."""
    r, g, b, own = points[0, p, k], points[1, p, k], points[2, p, k], ranks[p, k]
    leaves = len(boxes) // 2
    best = _search(points, ranks, p, r, g, b, own, NEVER)
    node = leaves + p
    while node > 1:
        stack[0], bounds[0] = node ^ 1, _bound(boxes, densest, node ^ 1, r, g, b, own)
        top = 1
        while top:
            top -= 1
            below = stack[top]
            if bounds[top] >= best:
                continue
            if below >= leaves:
                best = _search(points, ranks, below - leaves, r, g, b, own, best)
                continue
            left = _bound(boxes, densest, 2 * below, r, g, b, own)
            right = _bound(boxes, densest, 2 * below + 1, r, g, b, own)
            swap = left < right
            if max(left, right) < best:
                stack[top], bounds[top] = 2 * below + swap, max(left, right)
                top += 1
            if min(left, right) < best:
                stack[top], bounds[top] = 2 * below + 1 - swap, min(left, right)
                top += 1
        node >>= 1
    return best


@kernel
def _bound(boxes: np.ndarray, densest: np.ndarray, node: int, r: int, g: int, b: int, own: int) -> int:
    """No colour of a node comes before this; NEVER if none is denser."""
    if densest[node] >= own:
        return NEVER
    dr = max(0, boxes[node, 0] - r, r - boxes[node, 3])
    dg = max(0, boxes[node, 1] - g, g - boxes[node, 4])
    db = max(0, boxes[node, 2] - b, b - boxes[node, 5])
    return int((dr * dr + dg * dg + db * db) << 24 | densest[node])


@kernel
def _search(points: np.ndarray, ranks: np.ndarray, p: int, r: int, g: int, b: int, own: int, best: int) -> int:
    """The better of ``best`` and the denser colours of block p. Two short loops of 32-bit integers fill the vector unit."""
    least = np.int32(1 << 20)
    for j in range(BLOCK):
        dr, dg, db = r - points[0, p, j], g - points[1, p, j], b - points[2, p, j]
        squared = np.int32(dr * dr + dg * dg + db * db)
        least = min(least, squared if ranks[p, j] < own else np.int32(1 << 20))
    if least > best >> 24:
        return best
    first = np.int32(NONE)
    for j in range(BLOCK):  # those at that distance that are not denser have a higher rank: they do no harm
        dr, dg, db = r - points[0, p, j], g - points[1, p, j], b - points[2, p, j]
        squared = np.int32(dr * dr + dg * dg + db * db)
        first = min(first, ranks[p, j] if squared == least else np.int32(NONE))
    return int(min(best, np.int64(least) << 24 | first))


@kernel
def _farthest(palette: np.ndarray, i: int) -> int:
    """The largest squared distance from colour i to any."""
    r, g, b = np.int64(palette[i, 0]), np.int64(palette[i, 1]), np.int64(palette[i, 2])
    most = np.int64(0)
    for j in range(len(palette)):
        most = max(most, (palette[j, 0] - r) ** 2 + (palette[j, 1] - g) ** 2 + (palette[j, 2] - b) ** 2)
    return int(most)
