"""Masks moved, faded and resized, by hand."""

import numpy as np
import pytest

from frih.harmonizing.mask_edges import fade, resized, shrink


def square(size: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[first : last + 1, first : last + 1] = 255
    return mask


def test_a_shrunk_square_and_one_that_is_gone():
    assert np.array_equal(shrink(square(12, 2, 9), 0), square(12, 2, 9))
    assert shrink(square(12, 2, 9), 2)[6].tolist() == [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]
    assert not shrink(square(12, 2, 9), 4).any()
    assert not shrink(square(12, 2, 9), 10**9).any()


def test_a_disc_stays_round():
    y, x = np.mgrid[:121, :121]
    distance = np.hypot(y - 60, x - 60)
    shrunk = shrink((distance < 55).astype(np.uint8) * 255, 20) > 0
    assert abs(distance[shrunk].max() - 35) < 2
    assert abs(distance[~shrunk].min() - 35) < 2


def test_the_images_border_is_no_edge():
    mask = np.zeros((6, 8), np.uint8)
    mask[:, :5] = 255
    assert (shrink(mask, 2) == [255, 255, 255, 0, 0, 0, 0, 0]).all()
    assert np.allclose(fade(mask, 2), [1, 1, 1, 0.75, 0.25, 0, 0, 0])
    full = np.full((6, 8), 255, np.uint8)
    assert (shrink(full, 10**9) == 255).all()
    assert np.allclose(fade(full, 10**9), 1)


def test_a_soft_edge_stays_soft():
    row = np.tile(np.array([0, 60, 180, 255, 255, 255, 255, 255], np.uint8), (5, 1))
    assert (shrink(row, 2) == [0, 0, 0, 60, 180, 255, 255, 255]).all()
    assert (255 * fade(row, 2) == [0, 15, 75, 168.75, 236.25, 255, 255, 255]).all()  # (half, whole, half) / 2


@pytest.mark.parametrize("pixels", [1, 2, 3, 7, 50])
def test_the_share_of_the_kth_pixel(pixels):
    mask = square(41, 5, 35)
    row = fade(mask, pixels)[20]
    assert np.allclose(row[5:21], [min(1, (k - 0.5) / pixels) for k in range(1, 17)], atol=1e-6)
    assert not row[:5].any()


@pytest.mark.parametrize("size", [(64, 48), (16, 12), (47, 35)])
def test_a_resized_mask_has_its_edge_where_it_was(size):
    mask = np.zeros((24, 32), np.uint8)
    mask[:, 8:] = 255
    new = resized(mask, size)
    assert new.shape == size[::-1]
    assert abs((new >= 128).mean() - 0.75) <= 1 / size[0]
    assert set(np.unique(new[:, : size[0] // 8])) == {0}
    assert set(np.unique(new[:, -size[0] // 2 :])) == {255}
