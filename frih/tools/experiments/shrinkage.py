"""Finds ``model.shrink`` for trained weights (:func:`frih.models.shrink.shrink_change`), from one measurement of strengths.

The fMSE of an image is a quadratic function of its strength, but for rounding and clipping, so three strengths tell all.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.config.keys import Ramp
from frih.metrics import Row
from frih.tools.experiments.strengths import named

LOW, WIDTH, MOST = (0, 2, 4, 6, 8, 10, 12), (4, 8, 12, 16, 20), (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
"""The values tried, in levels, levels and times."""
HARM = 1.0
"""How much more an error counts that was made than one that was left."""

Floats = NDArray[np.float64]


def best_shrink(rows: Sequence[Row], unchanged: Sequence[Row]) -> Ramp | None:
    """The (low, full, most) with the least error, as if every other image needed no change; None if none is better than off.

    The error is the mean fMSE of the composites' results, plus that of the unchanged real images' results. What an image's
    error grew by counts :data:`HARM` times in addition.

    Args:
        rows: of composites (:class:`~frih.tools.experiments.strengths.Strengths`).
        unchanged: of real images as composites.
    """
    both = [_Errors.of(rows), _Errors.of(unchanged)]

    def error(ramp: Ramp | None) -> float:
        return sum(one.mean(ramp) for one in both)

    ramps = [(float(low), float(low + width), most) for low, width, most in product(LOW, WIDTH, MOST)]
    best = min(ramps, key=error)
    return best if error(best) < error(None) else None


class _Errors(NamedTuple):
    """The fMSE of N images at any strength s, a + b s + c s^2, and their mean changes in levels; (N,) each."""

    a: Floats
    b: Floats
    c: Floats
    change: Floats

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "_Errors":
        """Images with an empty mask are left out."""
        names = [named(0, "fmse"), named(0.5, "fmse"), named(1, "fmse"), named(1, "change")]
        found = [[row.scores[name] for name in names] for row in rows]
        none, half, whole, change = np.array([one for one in found if not any(map(math.isnan, one))]).reshape(-1, 4).T
        c = 2 * (none + whole - 2 * half)
        return cls(none, whole - none - c, c, change)

    def mean(self, ramp: Ramp | None) -> float:
        """The mean fMSE with a ramp, or without."""
        if not len(self.a):
            return 0.0
        s = np.ones(len(self.a))
        if ramp:
            low, full, most = ramp
            s = most * np.clip((self.change - low) / (full - low), 0, 1)
        after = self.a + self.b * s + self.c * s**2
        return float((after + HARM * np.maximum(after - self.a, 0)).mean())
