"""Whether an image is worse than its composite."""

import math

import numpy as np
import pytest

from frih.metrics import HARM, Row, with_harm
from frih.metrics.harm import TOLERANCE, harm, relative_change

NAN = math.nan


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
    assert all(math.isnan(value) for value in harm(NAN, NAN).values())
    assert math.isnan(relative_change(NAN, NAN))


def test_tolerance_is_above_what_rounding_to_8_bits_adds():
    """Real colours and a composite equal to them, predicted in fractions and saved in 8 bits."""
    rounding = np.random.default_rng(0).uniform(-0.5, 0.5, 100_000)
    assert np.square(rounding).mean() == pytest.approx(1 / 12, rel=0.02)
    assert 1 / 12 < TOLERANCE < 1 / 4  # 1/4: every pixel wrong by half a level


def test_rows_get_the_figures_of_all_their_images_behind_their_scores():
    scores = {"mse": 1.0, "fmse": 120.0, "input_fmse": 100.0, "coarse_fmse": 105.0}
    (row,) = with_harm([Row("A", "a.jpg", "a.jpg", 0.1, 1, scores)])
    added = {"worse": 1.0, "worse_10": 1.0, "coarse_worse": 1.0, "coarse_worse_10": 0.0}
    assert row.scores == scores | added
    assert list(row.scores)[: len(scores)] == list(scores)
    assert with_harm([row]) == [row]


def test_figures_that_are_there_stay():
    """A mean over seeds is no 0 or 1, and must not be judged again by the mean fMSE."""
    scores = {"fmse": 120.0, "input_fmse": 100.0, "worse": 1 / 3, "worse_10": 0.0}
    assert with_harm([Row("A", "a.jpg", "a.jpg", 0.1, 1, scores)])[0].scores == scores


def test_without_the_composites_score_a_row_stays_as_it_is():
    row = Row("A", "a.jpg", "a.jpg", 0.1, 1, {"mse": 1.0, "psnr": 30.0, "fmse": 10.0})
    assert with_harm([row]) == [row]
    assert not HARM.keys() & with_harm([row])[0].scores.keys()


def test_relative_change_has_a_value_where_nothing_needed_change():
    assert relative_change(150.0, 100.0) == 50
    assert relative_change(50.0, 100.0) == -50
    assert relative_change(0.0, 0.0) == 0
    assert relative_change(1.0, 0.0) == 1000  # of the tolerance
