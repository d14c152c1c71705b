"""The best ramp for given images."""

import math

import numpy as np
import pytest

from frih.metrics import Row
from frih.tools.experiments.shrinkage import LOW, MOST, WIDTH, best_shrink


def row(before, toward, own, number=0):
    """An image whose change of ``own`` levels everywhere removes a share ``toward`` of an error of sqrt(before) levels."""
    error = math.sqrt(before)
    after = {strength: (error - strength * toward * own) ** 2 for strength in (0, 0.5, 1)}
    scores = {f"{strength:g}_fmse": value for strength, value in after.items()} | {"1_change": own}
    return Row("A", f"{number}_1_1.jpg", f"{number}.jpg", 0.1, 1, scores)


def literal(rows, unchanged, ramp):
    """The error of a ramp, image by image."""
    total = 0.0
    for part in (rows, unchanged):
        values = []
        for one in part:
            none, half, whole, change = (one.scores[name] for name in ("0_fmse", "0.5_fmse", "1_fmse", "1_change"))
            s = 1.0 if ramp is None else ramp[2] * min(1.0, max(0.0, (change - ramp[0]) / (ramp[1] - ramp[0])))
            after = np.polyval(np.polyfit([0, 0.5, 1], [none, half, whole], 2), s)
            values.append(after + max(0.0, after - none))
        total += float(np.mean(values))
    return total


def test_it_is_the_best_of_all_that_are_tried():
    rng = np.random.default_rng(0)
    rows = [
        row(float(rng.uniform(50, 2000)), float(rng.uniform(-0.5, 1.2)), float(rng.uniform(1, 30))) for _ in range(30)
    ]
    unchanged = [row(0.0, 1.0, float(rng.uniform(0, 10))) for _ in range(10)]
    ramps = [(low, low + width, most) for low in LOW for width in WIDTH for most in MOST]
    best = min(ramps, key=lambda ramp: literal(rows, unchanged, ramp))
    assert literal(rows, unchanged, best) < literal(rows, unchanged, None)
    assert best_shrink(rows, unchanged) == pytest.approx(best)


def test_where_every_change_is_right_there_is_none():
    rows = [row(400.0, 1.0, 20.0), row(4.0, 1.0, 2.0), row(1.0, 1.0, 1.0)]
    assert best_shrink(rows, []) is None
    assert best_shrink([], []) is None
