"""CFSFDP and k-means written out literally, pixel against pixel: slow, and without any code of the fast versions."""

from fractions import Fraction
from functools import cache
from math import floor, sqrt
from typing import NamedTuple

import numpy as np

LARGEST = 3 * 255**2


class Peaks(NamedTuple):
    labels: np.ndarray
    centers: np.ndarray
    density: np.ndarray
    delta: np.ndarray


def density_peaks(colors, cutoff=0.1, candidates=10, min_density=10, distance="euclidean", decision="delta"):
    pixels = [tuple(pixel) for pixel in colors.tolist()]
    values = sorted(set(pixels))
    everyone = colors.astype(np.int64)

    # Equation 1. Pixels of one colour have the same distances, so they are computed once for each colour.
    within = inside(str(cutoff), distance)
    rho = {value: int(np.count_nonzero(within[squares(value, everyone)])) for value in values}

    # Equation 2. Each colour follows the nearest denser one; of several, the densest.
    order = sorted(values, key=lambda value: (-rho[value], value))
    ranked = np.array(order, dtype=np.int64).reshape(-1, 3)
    delta_squared, leader = {}, {}
    for place, value in enumerate(order):
        if place == 0:
            delta_squared[value] = int(squares(value, everyone).max())
            leader[value] = None
        else:
            to_denser = squares(value, ranked[:place])
            delta_squared[value] = int(to_denser.min())
            leader[value] = order[to_denser.argmin()]  # the first of several, which is the densest

    # The colours of the highest delta or gamma, without the outliers. Squares have the same order, and are exact integers.
    score = {value: delta_squared[value] * (rho[value] ** 2 if decision == "gamma" else 1) for value in order}
    by_score = sorted(order, key=lambda value: -score[value])  # stable: of equal ones, the denser first
    centers = [value for value in by_score[:candidates] if rho[value] > min_density] or order[:1]
    centers.sort(key=order.index)

    label = {}
    for value in order:
        label[value] = centers.index(value) + 1 if value in centers else label[leader[value]]

    unit = 255 * (sqrt(3) if distance == "normalized" else 1)
    return Peaks(
        np.array([label[pixel] for pixel in pixels], np.uint8),
        np.array(centers, np.uint8).reshape(-1, 3),
        np.array([rho[pixel] for pixel in pixels], np.int64),
        np.array([sqrt(delta_squared[pixel]) / unit for pixel in pixels]),
    )


def kmeans(colors, clusters=8):
    """Labels, and the centres in 256ths of a level."""
    pixels = colors.astype(np.int64)

    # The start: the cluster of the largest error is cut at its mean, across the channel of the largest variance.
    parts = [pixels]
    while len(parts) < clusters:
        errors = [sum(map(error, part.T.tolist())) for part in parts]
        largest = errors.index(max(errors))
        if errors[largest] == 0:
            break
        part = parts[largest]
        by_channel = [error(levels) for levels in part.T.tolist()]
        levels = part[:, by_channel.index(max(by_channel))]
        above = levels > Fraction(int(levels.sum()), len(levels))
        parts[largest] = part[~above]
        parts.append(part[above])
    centers = [mean(part) for part in parts]

    # Lloyd's algorithm, to its end.
    while True:
        distances = np.stack([squares(center, 256 * pixels) for center in centers])
        label = distances.argmin(axis=0)  # the first of equally near ones
        moved = [mean(pixels[label == k]) for k in range(len(centers)) if (label == k).any()]
        if moved == centers:
            break
        centers = moved
    sizes = [int((label == k).sum()) for k in range(len(centers))]
    order = sorted(range(len(centers)), key=lambda k: (-sizes[k], centers[k]))
    return np.array([order.index(k) + 1 for k in label.tolist()], np.uint8), np.array([centers[k] for k in order])


def error(levels):
    """The sum of squared differences from the mean, as a fraction."""
    return sum(level**2 for level in levels) - Fraction(sum(levels) ** 2, len(levels))


def mean(pixels):
    """In 256ths of a level, halves rounded up."""
    return tuple(floor(Fraction(256 * int(levels.sum()), len(levels)) + Fraction(1, 2)) for levels in pixels.T)


def squares(value, others):
    return ((others - np.array(value)) ** 2).sum(axis=1)


@cache
def inside(cutoff, distance):
    """For each possible squared distance in levels: whether it lies strictly within the cutoff."""
    limit = (255 * Fraction(cutoff)) ** 2 * (3 if distance == "normalized" else 1)
    return np.array([square < limit for square in range(LARGEST + 1)])
