"""k-means, deterministic and exact, on 8-bit colours.

Equal colours are one point that weighs as many pixels as show it, so the cost does not follow the number of pixels. Centres are
kept in 256ths of a level, so all distances are integers, and the result is the same to the bit on every machine and for every
order of pixels.

The start is Su and Dy's variance partitioning (Intelligent Data Analysis, 2007): the cluster of the largest squared error is
cut at its mean, across the channel of the largest variance, until there are enough. Then it is Lloyd's algorithm, until
nothing moves. It ends, since no step makes the error larger, and of centres that are equally good a step takes the larger ones.
``python benchmarks/submasks.py`` compares its error with that of random starts.
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from frih.submasks.backend import fastest
from frih.submasks.checks import check_colors, check_count


class KMeans(NamedTuple):
    """N colours in K clusters."""

    labels: np.ndarray
    """(N,) uint8: 1 ... K, the largest cluster first; of equally large ones, that of the smaller (r, g, b)."""
    centers: np.ndarray
    """(K, 3) float64: the mean colours in levels, to 1/256, in the order of the labels."""


def kmeans(colors: np.ndarray, clusters: int = 8) -> KMeans:
    """Clusters colours.

    Every colour belongs to its nearest centre; at equal distance, to that which the start made first. Every centre is the mean
    of its colours, rounded to 1/256 of a level.

    Args:
        colors: (N, 3) uint8; N = 0 gives no cluster.
        clusters: the most clusters there can be, 1 ... 255; there are fewer where there are fewer distinct colours, or where
            Lloyd's algorithm takes all colours from a cluster.

    Raises:
        ValueError: an argument is not as above.
    """
    check_count("clusters", clusters, "8 by default")
    check_colors(colors)
    if len(colors) == 0:
        return KMeans(np.zeros(0, np.uint8), np.zeros((0, 3)))
    found = cluster(colors, clusters)
    return KMeans(found.labels[found.rows], found.centers / 256)


class Clusters(NamedTuple):
    """N colours, of which U are distinct, in K clusters."""

    rows: np.ndarray
    """(N,): index of each row's colour among the distinct ones."""
    centers: np.ndarray
    """(K, 3) int64, in 256ths of a level, in the order of the labels."""
    labels: np.ndarray
    """(U,) uint8."""


def cluster(colors: np.ndarray, clusters: int) -> Clusters:
    """:func:`kmeans` of N >= 1 colours, by distinct colour."""
    palette, weights, rows = fastest.distinct_colors(colors)
    centers = _means(_partition(palette, weights, clusters))
    while True:
        labels, sums = fastest.assign(palette, weights, centers)
        moved = _means(sums[sums[:, 0] > 0])
        if np.array_equal(moved, centers):
            break
        centers = moved
    order = np.lexsort((*centers.T[::-1], -sums[:, 0]))
    number = np.empty(len(order), np.uint8)
    number[order] = np.arange(1, len(order) + 1)
    return Clusters(rows, centers[order], number[labels])


def _means(sums: np.ndarray) -> np.ndarray:
    """(K, 3) means in 256ths of a level, halves rounded up, of (K, 4) weights and sums."""
    means: np.ndarray = (512 * sums[:, 1:] + sums[:, :1]) // (2 * sums[:, :1])
    return means


class _Moments(NamedTuple):
    """Of a cluster's colours, over its pixels: their number, and by channel the sums of the levels and of their squares."""

    weight: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]

    def spread(self, channel: int) -> int:
        """The channel's variance, times the squared number of pixels."""
        return self.weight * self.squares[channel] - self.sums[channel] ** 2

    def error(self) -> Fraction:
        """The sum of squared distances to the mean."""
        return Fraction(sum(map(self.spread, range(3))), self.weight)


def _partition(palette: np.ndarray, weights: np.ndarray, clusters: int) -> np.ndarray:
    """The start: (K, 4) int64, the weight of each part, and the sums of its r, g and b."""
    labels = np.zeros(len(palette), np.uint8)
    parts = [_moments(palette, weights)]
    errors = [parts[0].error()]
    while len(parts) < clusters:
        largest = errors.index(max(errors))
        part = parts[largest]
        if not errors[largest]:  # all that is left is single colours
            break
        channel = max(range(3), key=part.spread)
        members = np.flatnonzero(labels == largest)
        above = members[palette[members, channel] > part.sums[channel] // part.weight]
        labels[above] = len(parts)
        cut = _moments(palette[above], weights[above])
        rest = _less(part, cut)
        parts[largest], errors[largest] = rest, rest.error()
        parts.append(cut)
        errors.append(cut.error())
    return np.array([(part.weight, *part.sums) for part in parts], np.int64)


def _moments(palette: np.ndarray, weights: np.ndarray) -> _Moments:
    weights = weights.astype(np.int64)
    sums, squares = [], []
    for c in range(3):
        levels = palette[:, c].astype(np.int64)
        weighted = weights * levels
        sums.append(int(weighted.sum()))
        squares.append(int(weighted @ levels))
    return _Moments(int(weights.sum()), (sums[0], sums[1], sums[2]), (squares[0], squares[1], squares[2]))


def _less(whole: _Moments, part: _Moments) -> _Moments:
    """The moments of what is left of a cluster."""
    r, g, b = (x - y for x, y in zip(whole.sums, part.sums, strict=True))
    rr, gg, bb = (x - y for x, y in zip(whole.squares, part.squares, strict=True))
    return _Moments(whole.weight - part.weight, (r, g, b), (rr, gg, bb))
