"""Whether an image is worse than its composite."""

import math

import pytest

from frih.metrics import Row, with_harm
from frih.metrics.harm import harm, relative_change


@pytest.mark.parametrize(
    ("fmse", "composite", "worse", "worse_10"),
    [
        (99.0, 100.0, 0, 0),
        (100.0, 100.0, 0, 0),
        (100.05, 100.0, 0, 0),  # rounding
        (100.2, 100.0, 1, 0),
        (110.0, 100.0, 1, 0),
        (110.2, 100.0, 1, 1),
        (0.0, 0.0, 0, 0),
        (0.09, 0.0, 0, 0),  # rounding to 8 bits, of a composite that needs no change
        (0.2, 0.0, 1, 1),
        (0.55, 0.5, 0, 0),  # by a tenth, but by less than can be seen
        (0.61, 0.5, 1, 1),
    ],
)
def test_by_hand(fmse, composite, worse, worse_10):
    assert harm(fmse, composite) == {"worse": worse, "worse_10": worse_10}


def test_an_empty_mask_has_no_answer():
    assert all(math.isnan(value) for value in harm(math.nan, math.nan).values())
    assert math.isnan(relative_change(math.nan, math.nan))


def row(**scores) -> Row:
    return Row("A", "a.jpg", "a.jpg", 0.1, 1, scores)


def test_rows_get_the_figures_of_all_their_images_behind_their_scores():
    before = row(mse=1.0, fmse=120.0, input_fmse=100.0, coarse_fmse=105.0)
    (after,) = with_harm([before])
    added = {"worse": 1.0, "worse_10": 1.0, "coarse_worse": 1.0, "coarse_worse_10": 0.0}
    assert list(after.scores.items()) == [*before.scores.items(), *added.items()]


@pytest.mark.parametrize(
    "scores",
    [
        {"fmse": 120.0, "input_fmse": 100.0, "worse": 1 / 3, "worse_10": 0.0},  # a mean over seeds is neither 0 nor 1
        {"mse": 1.0, "psnr": 30.0, "fmse": 10.0},  # nothing is known of the composite
    ],
)
def test_rows_that_have_their_figures_or_no_composites_score_stay_as_they_are(scores):
    assert with_harm([row(**scores)]) == [row(**scores)]


@pytest.mark.parametrize(
    ("fmse", "composite", "percent"),
    [(150.0, 100.0, 50), (50.0, 100.0, -50), (0.0, 0.0, 0), (1.0, 0.0, 1000)],  # the last: of the tolerance
)
def test_relative_change(fmse, composite, percent):
    assert relative_change(fmse, composite) == percent
