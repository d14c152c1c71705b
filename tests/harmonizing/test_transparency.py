import numpy as np
import pytest

from frih.harmonizing.transparency import render_visible
from tests.conftest import ellipse, smooth_image

SIZE = 64
RED, BLUE = (200, 40, 40), (40, 40, 200)


@pytest.fixture
def scene():
    """A red foreground on blue, and its mask, at the network's size."""
    mask = ellipse(SIZE, SIZE, grow=3) >= 128
    return np.where(mask[..., None], RED, BLUE).astype(np.uint8), mask


def with_alpha(image, alpha):
    return np.dstack([image, np.broadcast_to(alpha, image.shape[:2]).astype(np.uint8)])


@pytest.mark.parametrize("size", [(64, 64), (300, 200), (30, 50)])
@pytest.mark.parametrize("low", [0, 1, 40, 127])
@pytest.mark.parametrize("fill", [0, 255, (255, 0, 255), "noise"])
def test_colours_that_are_not_seen_do_not_count(size, low, fill):
    image, mask = smooth_image(seed=1, width=size[0], height=size[1]), ellipse(SIZE, SIZE, grow=3) >= 128
    hidden = smooth_image(seed=2, width=size[0], height=size[1])[..., 0] > 128
    noise = np.random.default_rng(0).integers(0, 256, image.shape)
    other = np.where(hidden[..., None], noise if fill == "noise" else fill, image).astype(np.uint8)
    alpha = np.where(hidden, low, 255)
    expected = render_visible(with_alpha(image, alpha), mask, SIZE)
    assert np.array_equal(render_visible(with_alpha(other, alpha), mask, SIZE), expected)


def test_each_side_of_the_mask_is_filled_by_its_own_colours(scene):
    image, mask = scene
    alpha = np.where(np.arange(SIZE) % 8 < 5, 0, 255)
    np.testing.assert_allclose(render_visible(with_alpha(image, alpha), mask, SIZE), image, atol=1)
    alpha = np.where(mask, 0, 255)
    assert (render_visible(with_alpha(image, alpha), mask, SIZE) == BLUE).all()
    assert (render_visible(with_alpha(image, 255 - alpha), mask, SIZE) == RED).all()


def test_near_colours_count_most(scene):
    image, mask = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), bool)
    image[:, -8:] = 240
    alpha = np.where((np.arange(SIZE) < 8) | (np.arange(SIZE) >= SIZE - 8), 255, 0)
    row = render_visible(with_alpha(image, alpha), mask, SIZE)[SIZE // 2, :, 0]
    assert row[12] < 60 < 180 < row[SIZE - 12]


@pytest.mark.parametrize("alpha", [128, 200, 255, 60])
def test_what_is_at_least_half_opaque_is_seen_and_all_of_an_image_that_is_faint_everywhere(scene, alpha):
    image, mask = scene
    assert np.array_equal(render_visible(with_alpha(image, alpha), mask, SIZE), image)


def test_an_image_of_which_nothing_is_seen(scene):
    image, mask = scene
    assert not render_visible(with_alpha(image, 0), mask, SIZE).any()


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.float32, 1), (np.float64, 1)])
def test_deep_images(scene, dtype, top):
    image, mask = scene
    shallow = with_alpha(image, np.where(np.arange(SIZE) < 20, 3, 255))
    deep = (shallow / 255 * top).astype(dtype)
    np.testing.assert_allclose(render_visible(deep, mask, SIZE), render_visible(shallow, mask, SIZE), atol=1)
