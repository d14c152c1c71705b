"""Clustering by fast search and find of density peaks (CFSFDP; Rodriguez and Laio, Science 2014), exact, on 8-bit colours.

Where the paper leaves room, the rules are these. Equal colours are one point, which weighs as many pixels as have that colour.
Distances are compared as squared integers, never in floating point. Of equally dense colours the lexicographically smaller
(r, g, b) counts as the denser, so the result does not depend on the order of pixels.
"""

from fractions import Fraction
from importlib import import_module
from math import ceil
from numbers import Integral, Real
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from frih.submasks import neighbours, palette
from frih.submasks.checks import check_choice, check_colors, check_count, is_number
from frih.submasks.patience import Patience

DISTANCES = ("euclidean", "normalized")
DECISIONS = ("delta", "gamma")
PATIENCE = Patience(200_000)
"""Pixels that are clustered in NumPy: some ten usual images."""


class DensityPeaks(NamedTuple):
    """N colours in K clusters."""

    labels: np.ndarray
    """(N,) uint8: 1 ... K, the cluster of the densest centre first."""
    centers: np.ndarray
    """(K, 3) uint8: the centres' colours in the order of the labels."""
    density: np.ndarray
    """(N,) int64: rho, the number of rows nearer than the cutoff, including the row itself."""
    delta: np.ndarray
    """(N,) float64: the distance to the nearest denser colour; for the densest, the largest distance to any colour."""


def density_peaks(
    colors: np.ndarray,
    cutoff: float = 0.1,
    candidates: int = 10,
    min_density: int = 10,
    distance: str = "euclidean",
    decision: str = "delta",
) -> DensityPeaks:
    """Clusters colours.

    Centres are the ``candidates`` distinct colours of the highest delta or gamma (of equal ones, the denser), without those
    whose density is at most ``min_density``. If none is left, the densest colour is the only centre. Every other colour joins
    the cluster of its nearest denser colour; if several are equally near, it joins the densest of them.

    Args:
        colors: (N, 3) uint8; N = 0 gives no cluster.
        cutoff: d_c, in (0, 1]. A colour at exactly d_c does not count. Decimals are taken as printed: 0.2 is 51 levels.
        candidates: the most clusters there can be, 1 ... 255.
        min_density: a colour of this density or less is an outlier.
        distance: ``"euclidean"`` between RGB vectors in [0, 1], or ``"normalized"``, divided by sqrt 3. ``cutoff`` and delta
            are in its units.
        decision: what makes a candidate: ``"delta"``, as in FRIH's paper; or ``"gamma"``, density times delta, as Rodriguez
            and Laio rank the points of their decision graph.

    Raises:
        ValueError: an argument is not as above.
    """
    check_options(cutoff, candidates, min_density, distance)
    check_choice("decision", decision, DECISIONS)
    check_colors(colors)
    if len(colors) == 0:
        return DensityPeaks(np.zeros(0, np.uint8), np.zeros((0, 3), np.uint8), np.zeros(0, np.int64), np.zeros(0))
    sort, search = _forms(len(colors))
    colors, weights, rows = sort.distinct_colors(np.array(colors, order="C"))
    boxes = sort.build_boxes(colors)
    density = search.densities(colors, boxes, weights, squared_limit(cutoff, distance))
    rank = sort.ranks(colors, density)
    nearest, squared = search.nearest_denser(colors, boxes, rank)
    score = squared if decision == "delta" else _squared_gamma(density, squared)
    centers = _centers(score, rank, density, candidates, min_density)
    delta = np.sqrt(squared) / (255.0 if distance == "euclidean" else 255.0 * np.sqrt(3.0))
    return DensityPeaks(_follow(nearest, centers)[rows], colors[centers], density[rows], delta[rows])


def _forms(pixels: int) -> tuple[ModuleType, ModuleType]:
    """What sorts colours and what searches them, plain or compiled."""
    if PATIENCE.lasts(pixels):
        return palette, neighbours
    return import_module("frih.submasks.fast_palette"), import_module("frih.submasks.fast_neighbours")


def squared_limit(cutoff: float, distance: str) -> int:
    """The smallest squared distance, in levels of 0..255, that is not within the cutoff."""
    levels = 255 * Fraction(str(cutoff))
    return ceil(levels * levels * (3 if distance == "normalized" else 1))


def check_options(cutoff: Any, candidates: Any, min_density: Any, distance: Any) -> None:
    """Raises ValueError for an argument that :func:`density_peaks` does not take; the colours are not looked at."""
    if not is_number(cutoff, Real) or not 0 < cutoff <= 1:
        raise ValueError(f"cutoff: must be a number above 0 and at most 1 (the paper's is 0.1), not {cutoff!r}")
    check_count("candidates", candidates, "the paper's is 10")
    if not is_number(min_density, Integral) or min_density < 0:
        raise ValueError(f"min_density: must be an integer, 0 or more (the paper's is 10), not {min_density!r}")
    check_choice("distance", distance, DISTANCES)


def _squared_gamma(density: np.ndarray, squared: np.ndarray) -> np.ndarray:
    """(U,) (density x delta)^2, exact: int64, or Python's integers if 64 bits are too few."""
    if int(density.max()) ** 2 * int(squared.max()) >= 1 << 63:
        density = density.astype(object)
    gamma: np.ndarray = density * density * squared
    return gamma


def _centers(score: np.ndarray, rank: np.ndarray, density: np.ndarray, candidates: int, min_density: int) -> np.ndarray:
    """Indices of the centres, the densest first.

    The densest colour is always among the candidates. No colour is farther from it than its own delta, so it has the highest
    delta and the highest gamma, and it wins ties.
    """
    chosen = _highest(score, rank, min(candidates, len(rank)))
    chosen = chosen[density[chosen] > min_density]
    if len(chosen) == 0:
        return np.flatnonzero(rank == 0)
    centers: np.ndarray = chosen[np.argsort(rank[chosen])]
    return centers


def _highest(score: np.ndarray, rank: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` highest scores; of equal ones, those of the lowest ranks."""
    least = np.partition(score, len(score) - count)[len(score) - count]
    above, equal = np.flatnonzero(score > least), np.flatnonzero(score == least)
    return np.concatenate([above, equal[np.argsort(rank[equal])][: count - len(above)]])


def _follow(nearest: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(U,) uint8: the label of the centre that each colour reaches by going to its nearest denser colour again and again."""
    goal = nearest.copy()
    goal[centers] = centers
    while True:
        further = goal[goal]  # the number of steps doubles each time
        if np.array_equal(further, goal):
            break
        goal = further
    number = np.zeros(len(nearest), np.uint8)
    number[centers] = np.arange(1, len(centers) + 1)
    labels: np.ndarray = number[goal]
    return labels
