import numpy as np
import pytest

from frih.data.division import divide


def test_images_of_equal_or_unknown_cost_are_dealt_like_cards():
    for cost in (0, 3):
        assert divide(np.full((12, 2), cost, np.float32), 4).tolist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize(("images", "parts"), [(32, 4), (128, 8), (6, 6), (5, 1)])
def test_parts_take_as_many_and_cost_about_the_same(images, parts):
    rng = np.random.default_rng(0)
    costs = np.stack([rng.integers(1, 11, images), rng.integers(1, 400, images)], axis=1).astype(np.float32)
    costs[::7] = 0  # unknown
    taken = divide(costs, parts)
    assert np.bincount(taken, minlength=parts).tolist() == [images // parts] * parts
    if images // parts < 8:
        return
    for measure in costs.T:
        ours, dealt = (np.bincount(part, measure, parts).max() for part in (taken, np.arange(images) % parts))
        assert ours - measure.sum() / parts < 0.5 * (dealt - measure.sum() / parts)


def test_the_scale_of_a_measure_does_not_matter():
    costs = np.random.default_rng(1).integers(1, 99, (24, 2)).astype(np.float32)
    assert np.array_equal(divide(costs, 3), divide(costs * np.array([1, 64], np.float32), 3))
