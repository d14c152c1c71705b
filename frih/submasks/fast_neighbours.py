"""Which colours are near each other: exact, in milliseconds, once it is compiled.

Arguments and results are those of :mod:`~frih.submasks.neighbours`. A binary tree of bounding boxes stands over the palette's
blocks (:mod:`~frih.submasks.palette`). All values are integers, or float32 that holds only integers up to 2^24, so nothing is
rounded.

* **Density.** If every colour of one block lies within the cutoff of every colour of another, each block counts the other as a
  whole. If none does, they are skipped. The boxes decide this, since their least and greatest distances bound those of the
  colours in them. The other blocks are laid side by side and compared colour by colour, in a long loop of 16-bit integers that
  fills the vector unit. It computes modulo 2^16, so it takes only blocks whose distances leave no doubt; the few others, and
  images of more than 2^16 pixels, are compared in float32.
* **Nearest denser colour.** All colours of a block search together. From the block the search climbs to the root. On its way it
  looks into each other subtree, the nearer box first, unless that is too far away for all of them or holds nothing denser.

``python benchmarks/submasks.py`` measures the time.
"""

import numba
import numpy as np

from frih.submasks.jit import kernel
from frih.submasks.palette import BLOCK, FAR

_FAR, _NEAR, _UNSURE, _INSIDE = 0, 1, 2, 3
"""Two blocks: skipped; compared in 16 bits; compared in float32; each counts the other as a whole."""
_SLACK = 0 if numba.config.DISABLE_JIT else 1 << 15
"""By how much a squared distance may exceed the cutoff's in 16 bits; without a compiler, NumPy would warn where they wrap."""
_STEP = 64
"""Colours that a loop of 16-bit integers takes at once; a multiple of BLOCK."""
_WORDS = BLOCK // 4
"""A block of 16-bit integers in words of 64 bits."""
_NONE = 1 << 24
"""A rank that no colour has."""
_NEVER = 1 << 20
"""A squared distance that no colour has."""


@kernel
def densities(palette: np.ndarray, boxes: np.ndarray, weights: np.ndarray, limit: int) -> np.ndarray:
    """As :func:`frih.submasks.neighbours.densities`."""
    n, leaves = len(palette), len(boxes) // 2
    blocks = (n + BLOCK - 1) // BLOCK
    points = np.full((4, blocks * BLOCK), np.float32(FAR))  # r, g, b, r^2 + g^2 + b^2
    heavy, mass = np.zeros(blocks * BLOCK, np.int32), np.zeros(blocks, np.int32)
    short = np.zeros((5, blocks * BLOCK), np.int16)  # the same and the weight, modulo 2^16
    for i in range(n):
        r, g, b = np.int32(palette[i, 0]), np.int32(palette[i, 1]), np.int32(palette[i, 2])
        points[0, i], points[1, i], points[2, i], points[3, i] = r, g, b, r * r + g * g + b * b
        short[0, i], short[1, i], short[2, i], short[3, i] = r, g, b, r * r + g * g + b * b
        short[4, i] = heavy[i] = weights[i]
        mass[i // BLOCK] += weights[i]
    sides = np.ascontiguousarray(boxes[leaves : leaves + blocks].T)
    slack = _SLACK if limit <= 1 << 15 and mass.sum() <= 1 << 16 else 0
    density, whole = np.zeros(blocks * BLOCK, np.int32), np.zeros(blocks, np.int32)
    unused, kinds, listed = np.empty(BLOCK, np.int32), np.empty(blocks, np.int32), np.empty(blocks, np.int64)
    side = np.zeros((6, blocks * BLOCK + _STEP), np.int16)  # blocks side by side, and what is added to each colour
    words, short_words = side.view(np.int64), short.view(np.int64)
    for p in range(blocks):
        _classify(sides, kinds, p, limit, slack)
        if kinds[p] == _INSIDE:
            whole[p] += mass[p]
        else:
            _compare(points, heavy, density, unused, p, p, p + 1, limit)
        whole[p] += _count_whole(kinds[p + 1 :], mass[p + 1 :], whole[p + 1 :], mass[p])
        count, others = 0, kinds[p + 1 :]
        for k in range(len(others)):
            listed[count] = p + 1 + k
            count += others[k] == _NEAR
        for k in range(count):
            # unsigned, so that no index is checked for being negative, and a block is moved by vectors
            to, at = np.uint64(k * _WORDS), np.uint64(listed[k] * _WORDS)
            for c in range(5):
                for j in range(_WORDS):
                    words[c, to + np.uint64(j)] = short_words[c, at + np.uint64(j)]
        size = (count * BLOCK + _STEP - 1) // _STEP * _STEP
        side[4, count * BLOCK : size] = 0
        side[5, :size] = 0
        if count:
            _compare_short(short, side, density, p, size, limit)
        for k in range(count):
            to, at = np.uint64(listed[k] * BLOCK), np.uint64(k * BLOCK)
            for j in range(BLOCK):
                density[to + np.uint64(j)] += np.uint16(side[5, at + np.uint64(j)])
        first = p + 1
        while first < blocks:  # a run of unsure blocks is one long loop
            last = first
            while last < blocks and kinds[last] == _UNSURE:
                last += 1
            if first < last:
                _compare(points, heavy, density, density[first * BLOCK : last * BLOCK], p, first, last, limit)
            first = last + 1
    result = np.empty(n, np.int64)
    for i in range(n):
        result[i] = density[i] + whole[i // BLOCK]
    return result


@kernel
def _classify(sides: np.ndarray, kinds: np.ndarray, p: int, limit: int, slack: int) -> None:
    """What block p and each block from p on are to each other. Distances up to ``limit + slack`` fit 16 bits."""
    low_r, low_g, low_b, high_r, high_g, high_b = (
        sides[0, p:],
        sides[1, p:],
        sides[2, p:],
        sides[3, p:],
        sides[4, p:],
        sides[5, p:],
    )
    kinds, bound, most = kinds[p:], np.int32(limit), np.int32(limit + slack)
    r0, g0, b0, r1, g1, b1 = low_r[0], low_g[0], low_b[0], high_r[0], high_g[0], high_b[0]
    for q in range(len(kinds)):
        up, down = np.int32(high_r[q] - r0), np.int32(r1 - low_r[q])
        gap, span = min(np.int32(0), min(up, down)), max(up, down)
        least, greatest = np.int32(gap * gap), np.int32(span * span)
        up, down = np.int32(high_g[q] - g0), np.int32(g1 - low_g[q])
        gap, span = min(np.int32(0), min(up, down)), max(up, down)
        least, greatest = np.int32(least + gap * gap), np.int32(greatest + span * span)
        up, down = np.int32(high_b[q] - b0), np.int32(b1 - low_b[q])
        gap, span = min(np.int32(0), min(up, down)), max(up, down)
        least, greatest = np.int32(least + gap * gap), np.int32(greatest + span * span)
        undecided = np.int32(_NEAR) if greatest < most else np.int32(_UNSURE)
        decided = np.int32(_INSIDE) if greatest < bound else undecided
        kinds[q] = np.int32(_FAR) if least >= bound else decided


@kernel
def _count_whole(kinds: np.ndarray, mass: np.ndarray, whole: np.ndarray, own: int) -> int:
    """Adds a block's mass ``own`` to all blocks inside its cutoff; returns their mass."""
    total = np.int32(0)
    for q in range(len(kinds)):
        total += mass[q] if kinds[q] == _INSIDE else np.int32(0)
        whole[q] += own if kinds[q] == _INSIDE else np.int32(0)
    return int(total)


@kernel
def _compare_short(short: np.ndarray, side: np.ndarray, density: np.ndarray, p: int, size: int, limit: int) -> None:
    """Compares block p with ``size`` colours side by side. Sums of weights are exact, since there are no 2^16 other pixels."""
    r, g, b, norms, weights, run = (
        side[0, :size],
        side[1, :size],
        side[2, :size],
        side[3, :size],
        side[4, :size],
        side[5, :size],
    )
    for i in range(p * BLOCK, (p + 1) * BLOCK):
        x, y, z = np.int16(-2 * short[0, i]), np.int16(-2 * short[1, i]), np.int16(-2 * short[2, i])
        base, own, total = np.int16(short[3, i] - limit), short[4, i], np.int16(0)
        for j in range(size):
            near = np.int16(np.int16(norms[j] + base + x * r[j] + y * g[j] + z * b[j]) >> 15)  # all bits of the sign
            total = np.int16(total + (weights[j] & near))
            run[j] = np.int16(run[j] + (own & near))
        density[i] += np.uint16(total)


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
    points = np.full((4, blocks, BLOCK), np.float32(_NONE))  # r, g, b, rank; the densest of each block first
    densest, rarest, filled = np.full(2 * leaves, _NONE), np.zeros(blocks, np.int64), np.zeros(blocks, np.int64)
    colors = np.empty(n, np.int64)
    for i in range(n):
        colors[rank[i]] = i
    for k in range(n):
        i = colors[k]
        p = i // BLOCK
        for c in range(3):
            points[c, p, filled[p]] = palette[i, c]
        points[3, p, filled[p]] = k
        filled[p] += 1
        rarest[p], densest[leaves + p] = k, min(densest[leaves + p], k)
    for node in range(leaves - 1, 0, -1):
        densest[node] = min(densest[2 * node], densest[2 * node + 1])
    nearest, squared = np.empty(n, np.int64), np.empty(n, np.int64)
    stack, bounds, lanes = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(6 * BLOCK, np.float32)
    for p in range(blocks):
        for c in range(4):
            lanes[c * BLOCK : (c + 1) * BLOCK] = points[c, p]
        lanes[4 * BLOCK : 5 * BLOCK], lanes[5 * BLOCK :] = _NEVER, _NONE
        lanes[4 * BLOCK + filled[p] : 5 * BLOCK] = -1  # an empty place looks for nothing
        if points[3, p, 0] == 0:
            lanes[4 * BLOCK] = -1  # nor does the densest of all
        _climb(points, boxes, densest, stack, bounds, lanes, p, rarest[p])
        for k in range(filled[p]):
            i = colors[int(lanes[3 * BLOCK + k])]
            if rank[i] == 0:
                nearest[i], squared[i] = i, _farthest(palette, i)
            else:
                nearest[i], squared[i] = colors[int(lanes[5 * BLOCK + k])], int(lanes[4 * BLOCK + k])
    return nearest, squared


@kernel
def _climb(
    points: np.ndarray,
    boxes: np.ndarray,
    densest: np.ndarray,
    stack: np.ndarray,
    bounds: np.ndarray,
    lanes: np.ndarray,
    p: int,
    rarest: int,
) -> None:
    """Finds the nearest denser colours of block p, whose highest rank is ``rarest``."""
    leaves = len(boxes) // 2
    box = boxes[leaves + p]
    worst = _search(points, lanes, p, rarest)
    node = leaves + p
    while node > 1:
        stack[0], bounds[0] = node ^ 1, _bound(boxes, densest, node ^ 1, box, rarest)
        top = 1
        while top:
            top -= 1
            below = stack[top]
            if bounds[top] > worst:
                continue
            if below >= leaves:
                worst = _search(points, lanes, below - leaves, rarest)
                continue
            left, right = (
                _bound(boxes, densest, 2 * below, box, rarest),
                _bound(boxes, densest, 2 * below + 1, box, rarest),
            )
            swap = left < right
            if max(left, right) <= worst:
                stack[top], bounds[top] = 2 * below + swap, max(left, right)
                top += 1
            if min(left, right) <= worst:
                stack[top], bounds[top] = 2 * below + 1 - swap, min(left, right)
                top += 1
        node >>= 1


@kernel
def _bound(boxes: np.ndarray, densest: np.ndarray, node: int, box: np.ndarray, rarest: int) -> int:
    """A lower bound of the squared distance from a box to the colours of a node; more than any if none is dense enough."""
    if densest[node] >= rarest:
        return 2 * _NEVER
    dr = max(0, boxes[node, 0] - box[3], box[0] - boxes[node, 3])
    dg = max(0, boxes[node, 1] - box[4], box[1] - boxes[node, 4])
    db = max(0, boxes[node, 2] - box[5], box[2] - boxes[node, 5])
    return int(dr * dr + dg * dg + db * db)


@kernel
def _search(points: np.ndarray, lanes: np.ndarray, q: int, rarest: int) -> int:
    """Lets the colours of a block look for denser ones in block q, two by two; returns the largest squared distance left.

    ``lanes`` holds in turn the block's r, g, b and rank, and squared distance and rank of the nearest denser colours so far.
    """
    never, none = np.float32(_NEVER), np.float32(_NONE)
    for j in range(0, BLOCK, 2):
        first, second = points[3, q, j], points[3, q, j + 1]
        if first >= rarest:
            break
        r, g, b = points[0, q, j], points[1, q, j], points[2, q, j]
        x, y, z = points[0, q, j + 1], points[1, q, j + 1], points[2, q, j + 1]
        for i in range(BLOCK):
            dr, dg, db = lanes[i] - r, lanes[BLOCK + i] - g, lanes[2 * BLOCK + i] - b
            dx, dy, dz = lanes[i] - x, lanes[BLOCK + i] - y, lanes[2 * BLOCK + i] - z
            one, other = dr * dr + dg * dg + db * db, dx * dx + dy * dy + dz * dz
            one = one if first < lanes[3 * BLOCK + i] else never
            other = other if second < lanes[3 * BLOCK + i] else never
            rank, squared = (first if one <= other else second), (one if one < other else other)
            before = lanes[4 * BLOCK + i]
            least = squared if squared < before else before
            found = rank if squared <= least else none
            kept = lanes[5 * BLOCK + i] if before <= least else none
            lanes[5 * BLOCK + i] = found if found < kept else kept
            lanes[4 * BLOCK + i] = least
    worst = np.int32(-1)
    for i in range(BLOCK):
        worst = max(worst, np.int32(lanes[4 * BLOCK + i]))
    return int(worst)


@kernel
def _farthest(palette: np.ndarray, i: int) -> int:
    """The largest squared distance from colour i to any colour."""
    r, g, b = np.int64(palette[i, 0]), np.int64(palette[i, 1]), np.int64(palette[i, 2])
    most = np.int64(0)
    for j in range(len(palette)):
        most = max(most, (palette[j, 0] - r) ** 2 + (palette[j, 1] - g) ** 2 + (palette[j, 2] - b) ** 2)
    return int(most)
