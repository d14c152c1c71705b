"""CFSFDP word for word, pixel against pixel: slow, and the judge of the fast ways, with which it shares no code."""

from fractions import Fraction
from functools import cache
from math import sqrt
from typing import NamedTuple

import numpy as np

LARGEST = 3 * 255**2


class Peaks(NamedTuple):
    labels: np.ndarray
    centers: np.ndarray
    density: np.ndarray
    delta: np.ndarray


def density_peaks(colors, cutoff=0.1, candidates=10, min_density=10, distance="euclidean"):
    pixels = [tuple(pixel) for pixel in colors.tolist()]
    values = sorted(set(pixels))
    everyone = colors.astype(np.int64)

    # Equation 1. Pixels of one colour have the same distances, so they are found once for each colour.
    within = inside(str(cutoff), distance)
    rho = {value: int(np.count_nonzero(within[squares(value, everyone)])) for value in values}

    # Equation 2, and whom each colour follows: the nearest denser one, of several the densest.
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

    # The colours of highest delta, less the outliers.
    by_delta = sorted(order, key=lambda value: -delta_squared[value])  # stable: of equal delta, the denser first
    centers = [value for value in by_delta[:candidates] if rho[value] > min_density] or order[:1]
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


def squares(value, others):
    return ((others - np.array(value)) ** 2).sum(axis=1)


@cache
def inside(cutoff, distance):
    """For each possible squared distance in levels: whether it lies strictly within the cutoff."""
    limit = (255 * Fraction(cutoff)) ** 2 * (3 if distance == "normalized" else 1)
    return np.array([square < limit for square in range(LARGEST + 1)])
