"""The slow functions of :mod:`~frih.tools.composites.color_transfer`, compiled by numba, to make composites during training.

The formulas and the order of steps are the same, but sums are rounded differently, and regraining solves its equations less
exactly. Stored data sets are made by the literal functions, so that they stay the same byte for byte.
"""

import numpy as np
from numpy.typing import NDArray

from frih.submasks.jit import kernel
from frih.tools.composites.color_transfer import (
    IDT_BINS,
    IDT_CELLS,
    TRANSFERS,
    Colors,
    Transfer,
    idt_rotations,
    regrain_weights,
)

SOLVED, MAX_STEPS = 1e-2, 200
"""Regraining stops when the residual's norm is this small, relative to the right side's."""


def transfer_pitie(source: Colors, reference: Colors) -> Colors:
    """:func:`~frih.tools.composites.color_transfer.transfer_pitie` within rounding: (N, 3) and (M, 3) in [0, 1] to (N, 3)."""
    return np.asarray(
        _idt(np.array(source.T, np.float64, order="C"), np.array(reference.T, np.float64, order="C"), idt_rotations()).T
    )


def regrain(image: Colors, restyled: Colors, region: NDArray[np.bool_]) -> Colors:
    """Does as :func:`frih.tools.composites.color_transfer.regrain`; the mean difference is below half an 8-bit level."""
    stiffness, fidelity = regrain_weights(image, region)
    index = np.full((region.shape[0] + 1, region.shape[1] + 1), -1)
    index[:-1, :-1][region] = np.arange(len(restyled))
    neighbours = np.stack([index[:-1, 1:][region], index[1:, :-1][region]])
    original = image[region]
    change = _solve(restyled - original, stiffness, fidelity, neighbours, SOLVED**2, MAX_STEPS)
    return np.asarray(np.clip(original + change, 0, 1))


FAST_TRANSFERS: dict[str, Transfer] = {**TRANSFERS, "pitie": transfer_pitie}
"""The transfers by the same names as :data:`~frih.tools.composites.color_transfer.TRANSFERS`."""


@kernel
def _idt(source: Colors, reference: Colors, rotations: Colors) -> Colors:
    """Transfers (3, M) to (3, N): channels are rows, so that each is contiguous in memory."""
    start, goal, moves = np.empty_like(source), np.empty_like(reference), np.empty_like(source)
    for step in range(len(rotations)):
        turn = rotations[step]
        _turn(source, turn, start)
        _turn(reference, turn, goal)
        for axis in range(3):
            _match(start[axis], goal[axis], moves[axis])
        for j in range(3):
            for i in range(source.shape[1]):
                source[j, i] += moves[0, i] * turn[j, 0] + moves[1, i] * turn[j, 1] + moves[2, i] * turn[j, 2]
    return np.minimum(np.maximum(source, 0.0), 1.0)


@kernel
def _turn(colors: Colors, turn: Colors, turned: Colors) -> None:
    for j in range(3):
        for i in range(colors.shape[1]):
            turned[j, i] = colors[0, i] * turn[0, j] + colors[1, i] * turn[1, j] + colors[2, i] * turn[2, j]


@kernel
def _match(source: Colors, reference: Colors, moves: Colors) -> None:
    low, high = min(source.min(), reference.min()), max(source.max(), reference.max())
    if high - low < 1e-9:
        moves[:] = 0
        return
    start, start_rank = _knots(source, low, high)
    goal, goal_rank = _knots(reference, low, high)
    move = np.interp(start_rank, goal_rank, goal) - start
    cells = IDT_BINS * IDT_CELLS
    scale = cells / (high - low)
    table = np.empty(cells)
    place, last = 0, len(start) - 1
    for cell in range(cells):  # as np.interp, but faster because the places are in order
        value = low + (cell + 0.5) / scale
        while place < last and start[place + 1] <= value:
            place += 1
        if value <= start[0] or place == last:
            table[cell] = move[place]
        else:
            share = (value - start[place]) / (start[place + 1] - start[place])
            table[cell] = move[place] + share * (move[place + 1] - move[place])
    for i in range(len(source)):
        moves[i] = table[min(int((source[i] - low) * scale), cells - 1)]


@kernel
def _knots(values: Colors, low: float, high: float) -> tuple[Colors, Colors]:
    cells = IDT_BINS * IDT_CELLS
    scale = cells / (high - low)
    counts, sums = np.zeros(IDT_BINS), np.zeros(IDT_BINS)
    for value in values:
        place = min(int((value - low) * scale), cells - 1) // IDT_CELLS
        counts[place] += 1
        sums[place] += value
    taken = counts > 0
    rank = (counts.cumsum() - counts / 2) / len(values)
    return sums[taken] / counts[taken], rank[taken]


@kernel
def _solve(
    goal: Colors, stiffness: Colors, fidelity: Colors, neighbours: NDArray[np.intp], enough: float, steps: int
) -> Colors:
    """Conjugate gradients, scaled by the diagonal, for the three columns of (N, 3) at once; starts at ``goal``.

    ``neighbours`` are the places of the pixels to the right and below, (2, N); -1 is outside the region.
    """
    n = len(goal)
    weights, diagonal = np.zeros((2, n)), fidelity.copy()
    for i in range(n):
        for side in range(2):
            j = neighbours[side, i]
            if j >= 0:
                weights[side, i] = (stiffness[i] + stiffness[j]) / 2
                diagonal[i] += weights[side, i]
                diagonal[j] += weights[side, i]
    solution: Colors = goal.copy()
    image = np.empty((n, 3))
    _apply(goal, diagonal, weights, neighbours, image)
    residual, direction = np.empty((n, 3)), np.empty((n, 3))
    energy, bound = np.zeros(3), np.zeros(3)
    for i in range(n):
        for c in range(3):
            wanted = fidelity[i] * goal[i, c]
            residual[i, c] = wanted - image[i, c]
            direction[i, c] = residual[i, c] / diagonal[i]
            energy[c] += residual[i, c] * direction[i, c]
            bound[c] += enough * wanted * wanted / diagonal[i]
    length, step, after = np.empty(3), np.empty(3), np.empty(3)
    for _ in range(steps):
        if (energy <= bound + 1e-30).all():
            break
        _apply(direction, diagonal, weights, neighbours, image)
        length[:] = 0
        for i in range(n):
            for c in range(3):
                length[c] += direction[i, c] * image[i, c]
        for c in range(3):
            step[c] = energy[c] / max(length[c], 1e-300)
        after[:] = 0
        for i in range(n):
            for c in range(3):
                solution[i, c] += step[c] * direction[i, c]
                residual[i, c] -= step[c] * image[i, c]
                after[c] += residual[i, c] * residual[i, c] / diagonal[i]
        for i in range(n):
            for c in range(3):
                direction[i, c] = residual[i, c] / diagonal[i] + direction[i, c] * (after[c] / max(energy[c], 1e-300))
        energy[:] = after
    return solution


@kernel
def _apply(values: Colors, diagonal: Colors, weights: Colors, neighbours: NDArray[np.intp], image: Colors) -> None:
    for i in range(len(values)):
        for c in range(3):
            image[i, c] = diagonal[i] * values[i, c]
    for i in range(len(values)):
        for side in range(2):
            j = neighbours[side, i]
            if j >= 0:
                for c in range(3):
                    image[i, c] -= weights[side, i] * values[j, c]
                    image[j, c] -= weights[side, i] * values[i, c]
