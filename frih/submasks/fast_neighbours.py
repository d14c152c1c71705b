"""Which colours are near each other: exact, in milliseconds, once it is compiled.

Arguments and results are those of :mod:`~frih.submasks.neighbours`. A binary tree of bounding boxes stands over the palette's
blocks (:mod:`~frih.submasks.palette`). All values are integers, or float32 that holds only integers below 2^24, so nothing is
rounded.

* **Density.** If every colour of one block lies within the cutoff of every colour of another, each block counts the other as a
  whole. If none does, they are skipped. The boxes decide this, since their least and greatest distances bound those of the
  colours in them. All other pairs of blocks are compared colour by colour, in a loop that fills the vector unit.
* **Nearest denser colour.** From a colour's own block the search climbs to the root. On its way it looks into each other
  subtree, the nearer box first, unless that is too far away or holds nothing denser.

``python benchmarks/submasks.py`` measures the time.
"""

import numpy as np

from frih.submasks.jit import kernel
from frih.submasks.palette import BLOCK, FAR

_NONE = 1 << 24
"""A rank that no colour has."""
_NEVER = 1 << 62
"""A bound that is never reached."""


@kernel
def densities(palette: np.ndarray, boxes: np.ndarray, weights: np.ndarray, limit: int) -> np.ndarray:
    """As :func:`frih.submasks.neighbours.densities`."""
    n, leaves = len(palette), len(boxes) // 2
    blocks = (n + BLOCK - 1) // BLOCK
    points = np.full((4, blocks * BLOCK), np.float32(FAR))  # r, g, b, r^2 + g^2 + b^2
    heavy, mass = np.zeros(blocks * BLOCK, np.int32), np.zeros(blocks, np.int32)
    for i in range(n):
        r, g, b = np.int32(palette[i, 0]), np.int32(palette[i, 1]), np.int32(palette[i, 2])
        points[0, i], points[1, i], points[2, i], points[3, i] = r, g, b, r * r + g * g + b * b
        heavy[i] = weights[i]
        mass[i // BLOCK] += weights[i]
    density, whole = np.zeros(blocks * BLOCK, np.int32), np.zeros(blocks, np.int32)
    unused = np.empty(BLOCK, np.int32)
    for p in range(blocks):
        _compare(points, heavy, density, unused, p, p, p + 1, limit)
        first = p + 1  # of a run of undecided blocks, which is one long loop
        for q in range(p + 1, blocks):
            least, greatest = 0, 0
            for c in range(3):
                up = boxes[leaves + q, 3 + c] - boxes[leaves + p, c]
                down = boxes[leaves + p, 3 + c] - boxes[leaves + q, c]
                gap, span = max(0, -min(up, down)), max(up, down)
                least += gap * gap
                greatest += span * span
            if least < limit <= greatest:
                continue
            if greatest < limit:
                whole[p] += mass[q]
                whole[q] += mass[p]
            if first < q:
                _compare(points, heavy, density, density[first * BLOCK : q * BLOCK], p, first, q, limit)
            first = q + 1
        if first < blocks:
            _compare(points, heavy, density, density[first * BLOCK :], p, first, blocks, limit)
    result = np.empty(n, np.int64)
    for i in range(n):
        result[i] = density[i] + whole[i // BLOCK]
    return result


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
    """Adds the near weights of blocks first ... last - 1 to the colours of block p, and those of block p to ``run``."""
    start, stop = first * BLOCK, last * BLOCK
    r, g, b, norms = points[0, start:stop], points[1, start:stop], points[2, start:stop], points[3, start:stop]
    weights = heavy[start:stop]
    for i in range(p * BLOCK, (p + 1) * BLOCK):
        # |a - b|^2 < limit as |b|^2 - 2 a.b < limit - |a|^2
        x, y, z = np.float32(-2) * points[0, i], np.float32(-2) * points[1, i], np.float32(-2) * points[2, i]
        bound, own, total = np.float32(limit) - points[3, i], heavy[i], np.int32(0)
        for j in range(stop - start):
            near = norms[j] + x * r[j] + y * g[j] + z * b[j] < bound
            total += weights[j] if near else np.int32(0)
            run[j] += own if near else np.int32(0)
        density[i] += total


@kernel
def nearest_denser(palette: np.ndarray, boxes: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`frih.submasks.neighbours.nearest_denser`."""
    n, leaves = len(palette), len(boxes) // 2
    blocks = (n + BLOCK - 1) // BLOCK
    points, ranks = np.full((3, blocks, BLOCK), np.int32(FAR)), np.full((blocks, BLOCK), np.int32(_NONE))
    densest, colors = np.full(2 * leaves, np.int32(_NONE)), np.empty(n, np.int64)
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
            nearest[i], squared[i] = colors[best & _NONE - 1], best >> 24
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
    best = _search(points, ranks, p, r, g, b, own, _NEVER)
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
    """A lower bound of squared distance x 2^24 + rank over the denser colours of a node; _NEVER if there are none."""
    if densest[node] >= own:
        return _NEVER
    dr = max(0, boxes[node, 0] - r, r - boxes[node, 3])
    dg = max(0, boxes[node, 1] - g, g - boxes[node, 4])
    db = max(0, boxes[node, 2] - b, b - boxes[node, 5])
    return int((dr * dr + dg * dg + db * db) << 24 | densest[node])


@kernel
def _search(points: np.ndarray, ranks: np.ndarray, p: int, r: int, g: int, b: int, own: int, best: int) -> int:
    """The least of ``best`` and the denser colours of block p. Two short loops of 32-bit integers fill the vector unit."""
    least = np.int32(1 << 20)
    for j in range(BLOCK):
        dr, dg, db = r - points[0, p, j], g - points[1, p, j], b - points[2, p, j]
        squared = np.int32(dr * dr + dg * dg + db * db)
        least = min(least, squared if ranks[p, j] < own else np.int32(1 << 20))
    if least > best >> 24:
        return best
    first = np.int32(_NONE)
    for j in range(BLOCK):  # a colour at that distance that is not denser has a higher rank
        dr, dg, db = r - points[0, p, j], g - points[1, p, j], b - points[2, p, j]
        squared = np.int32(dr * dr + dg * dg + db * db)
        first = min(first, ranks[p, j] if squared == least else np.int32(_NONE))
    return int(min(best, np.int64(least) << 24 | first))


@kernel
def _farthest(palette: np.ndarray, i: int) -> int:
    """The largest squared distance from colour i to any colour."""
    r, g, b = np.int64(palette[i, 0]), np.int64(palette[i, 1]), np.int64(palette[i, 2])
    most = np.int64(0)
    for j in range(len(palette)):
        most = max(most, (palette[j, 0] - r) ** 2 + (palette[j, 1] - g) ** 2 + (palette[j, 2] - b) ** 2)
    return int(most)
