"""k-means on 8-bit colours, deterministic and exact.

Equal colours are one point, which weighs as many pixels as have that colour. So the cost does not grow with the number of
pixels. Centres are kept in 256ths of a level, so all distances are integers, and the result is the same to the bit on every
machine and for every order of pixels.

The start is Su and Dy's variance partitioning (Intelligent Data Analysis, 2007): the cluster of the largest squared error is
cut at its mean, across the channel of the largest variance, until there are enough clusters. Then Lloyd's algorithm runs until
no centre moves. It ends, because no step makes the error larger, and among equally good centres a step takes the larger ones.
``python benchmarks/submasks.py`` compares its error with that of random starts.
"""

from fractions import Fraction
from importlib import import_module
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.submasks.checks import check_colors, check_count
from frih.submasks.palette import distinct_colors
from frih.submasks.patience import Patience

PATIENCE = Patience(500_000)
"""Distinct colours that are assigned in NumPy."""


class KMeans(NamedTuple):
    """N colours in K clusters."""

    labels: np.ndarray
    """(N,) uint8: 1 ... K, the largest cluster first; of equally large ones, that of the smaller (r, g, b)."""
    centers: np.ndarray
    """(K, 3) float64: the mean colours in levels, to 1/256, in the order of the labels."""


def kmeans(colors: np.ndarray, clusters: int = 8) -> KMeans:
    """Clusters colours.

    Every colour belongs to its nearest centre; at equal distance, to the one that the start made first. Every centre is the
    mean of its colours, rounded to 1/256 of a level.

    Args:
        colors: (N, 3) uint8; N = 0 gives no cluster.
        clusters: the most clusters there can be, 1 ... 255. There are fewer if there are fewer distinct colours, or if Lloyd's
            algorithm takes all colours from a cluster.

    Raises:
        ValueError: an argument is not as above.
    """
    check_count("clusters", clusters, "8 by default")
    check_colors(colors)
    if len(colors) == 0:
        return KMeans(np.zeros(0, np.uint8), np.zeros((0, 3)))
    palette, weights, rows = distinct_colors(colors)
    centers = _means(_partition(palette, weights, clusters))
    nearest = assign if PATIENCE.lasts(len(palette)) else import_module("frih.submasks.fast_kmeans").assign
    while True:
        labels, sums = nearest(palette, weights, centers)
        moved = _means(sums[sums[:, 0] > 0])
        if np.array_equal(moved, centers):
            break
        centers = moved
    order = np.lexsort((*centers.T[::-1], -sums[:, 0]))
    number = np.empty(len(order), np.uint8)
    number[order] = np.arange(1, len(order) + 1)
    return KMeans(number[labels][rows], centers[order] / 256)


def _means(sums: np.ndarray) -> np.ndarray:
    """(K, 3) means in 256ths of a level, halves rounded up, of (K, 4) weights and sums."""
    means: np.ndarray = (512 * sums[:, 1:] + sums[:, :1]) // (2 * sums[:, :1])
    return means


def _partition(palette: np.ndarray, weights: np.ndarray, clusters: int) -> np.ndarray:
    """The start: (K, 4) int64, the weight of each part, and the sums of its r, g and b."""
    labels = np.zeros(len(palette), np.uint8)
    parts = [_moments(palette, weights)]
    errors = [_error(parts[0])]
    while len(parts) < clusters and max(errors):  # without an error, each part is a single colour
        largest = errors.index(max(errors))
        part, spreads = parts[largest], _spreads(parts[largest])
        channel = spreads.index(max(spreads))
        members = np.flatnonzero(labels == largest)
        above = members[palette[members, channel] > part[1 + channel] // part[0]]
        labels[above] = len(parts)
        cut = _moments(palette[above], weights[above])
        parts[largest] = part - cut
        parts.append(cut)
        errors[largest] = _error(parts[largest])
        errors.append(_error(cut))
    return np.stack(parts)[:, :4]


def _moments(palette: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(7,) int64: the number of pixels, then the sums of r, g and b over them, then the sums of their squares."""
    levels, weights = palette.astype(np.int64), weights.astype(np.int64)
    return np.concatenate([[weights.sum()], weights @ levels, weights @ levels**2])


def _spreads(moments: np.ndarray) -> list[int]:
    """The variance of each channel, times the squared number of pixels; 64 bits would be too few."""
    weight, *rest = moments.tolist()
    return [weight * square - total**2 for total, square in zip(rest[:3], rest[3:], strict=True)]


def _error(moments: np.ndarray) -> Fraction:
    """The sum of squared distances to the mean."""
    return Fraction(sum(_spreads(moments)), int(moments[0]))


def assign(
    palette: np.ndarray, weights: np.ndarray, centers: np.ndarray
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The nearest centre of each colour; at equal distance, the first.

    Args:
        palette: (U, 3) uint8, colours in levels.
        weights: (U,) integers, how often each occurs; their sum is below 2^31.
        centers: (K, 3) int64, K <= 255, in 256ths of a level.

    Returns:
        Its index (U,) uint8; and (K, 4) int64, for each centre the weight of its colours, and the sums of their r, g and b.
    """
    # |a - c|^2 less |a|^2, times 256, plus k, so that the least key holds its centre's index. The key and each of its terms are
    # integers below 2^44, so float64 holds them exactly.
    norms = 256.0 * np.square(centers).sum(axis=1) + np.arange(len(centers))
    keys = (-131072.0 * centers) @ palette.T.astype(np.float64) + norms[:, None]
    labels = keys.min(axis=0).astype(np.int64) & 255
    sums = [
        np.bincount(labels, weights * levels, len(centers)) for levels in (np.ones(1), *palette.T.astype(np.float64))
    ]
    return labels.astype(np.uint8), np.stack(sums, axis=1).astype(np.int64)
