import numpy as np
import pytest
from PIL import Image

from frih.config import DataConfig
from frih.data.transforms import View, has_foreground, random_box, random_view, render, whole
from tests.conftest import ellipse, smooth_image


def test_render_cuts_then_resizes_then_flips():
    array = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = Image.fromarray(array)
    assert np.array_equal(render(image, View((2, 1, 6, 5)), 4), array[1:5, 2:6])
    assert np.array_equal(render(image, View((2, 1, 6, 5), flip=True), 4), array[1:5, 2:6][:, ::-1])


def test_shrinking_averages_and_does_not_alias():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    image = Image.fromarray(stripes)
    small = render(image, whole(image), 32)
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() <= 2


def test_mask_and_image_stay_in_register():
    """An image that is its own mask gives the same pixels through every view."""
    mask = Image.fromarray(ellipse(90, 70, grow=3))
    image = mask.convert("RGB")
    rng = np.random.default_rng(0)
    for _ in range(20):
        view, rendered = random_view(mask, DataConfig(size=128), rng)
        assert np.array_equal(render(image, view, 128)[..., 1], rendered)


@pytest.mark.parametrize("size", [(100, 100), (300, 60), (7, 500), (1, 1)])
def test_boxes_lie_in_the_image_and_cover_what_was_asked(size):
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_box(*size, (0.5, 1.0), (0.75, 4 / 3), rng)
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        if size == (100, 100):
            assert 0.48 <= (right - left) * (bottom - top) / 1e4 <= 1
            assert 0.72 <= (right - left) / (bottom - top) <= 1.4


def test_boxes_of_all_places_and_sizes_occur():
    rng = np.random.default_rng(0)
    boxes = np.array([random_box(100, 100, (0.25, 1.0), (0.75, 4 / 3), rng) for _ in range(500)])
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert area.min() < 3000
    assert area.max() > 9000
    assert boxes[:, 0].max() > 30
    assert boxes[:, 0].min() == 0


def corner_mask() -> Image.Image:
    mask = np.zeros((100, 100), np.uint8)
    mask[:6, :6] = 255
    return Image.fromarray(mask)


def test_boxes_without_foreground_are_drawn_again_except_for_a_share():
    mask, rng = corner_mask(), np.random.default_rng(0)
    never = DataConfig(keep_empty_box=0.0, crop_scale=(0.3, 0.6))
    assert all(has_foreground(mask, random_view(mask, never, rng)[0], 256) for _ in range(100))
    fifth = DataConfig(keep_empty_box=0.2, crop_scale=(0.3, 0.6))
    missed = sum(not has_foreground(mask, random_view(mask, fifth, rng)[0], 256) for _ in range(1000))
    misses = DataConfig(keep_empty_box=1.0, crop_scale=(0.3, 0.6))
    by_chance = sum(not has_foreground(mask, random_view(mask, misses, rng)[0], 256) for _ in range(1000)) / 1000
    assert by_chance > 0.5
    assert missed / 1000 == pytest.approx(0.2 * by_chance, abs=0.04)


def test_an_empty_mask_takes_any_box():
    mask, rng = Image.fromarray(np.zeros((50, 50), np.uint8)), np.random.default_rng(0)
    assert random_view(mask, DataConfig(keep_empty_box=0.0), rng)[0].box != (0, 0, 50, 50)


def test_flips_come_as_often_as_asked():
    mask, rng = corner_mask(), np.random.default_rng(0)
    for share in (0.0, 0.5, 1.0):
        flips = [random_view(mask, DataConfig(flip=share), rng)[0].flip for _ in range(200)]
        assert np.mean(flips) == pytest.approx(share, abs=0.1)


def test_a_grey_mask_counts_where_it_is_half_foreground_after_resizing():
    grey = Image.fromarray(np.full((10, 10), 127, np.uint8))
    assert not has_foreground(grey, whole(grey), 8)
    grey = Image.fromarray(np.full((10, 10), 128, np.uint8))
    assert has_foreground(grey, whole(grey), 8)


def test_the_image_itself_is_untouched():
    image = Image.fromarray(smooth_image(seed=1, width=30, height=20))
    before = np.asarray(image).copy()
    render(image, View((0, 0, 30, 20), True), 16)
    assert np.array_equal(np.asarray(image), before)


def test_the_draws_are_those_of_the_plain_rule():
    """The plain rule asks first whether the whole mask holds anything, and renders everything twice."""

    def plainly(mask, config, rng):
        flip = rng.random() < config.flip
        keep = rng.random() < config.keep_empty_box or not has_foreground(mask, whole(mask), config.size)
        for _ in range(50):
            view = View(random_box(mask.width, mask.height, config.crop_scale, config.crop_ratio, rng), flip)
            if keep or has_foreground(mask, view, config.size):
                return view
        return whole(mask)._replace(flip=flip)

    config = DataConfig(size=128, crop_scale=(0.1, 0.5), keep_empty_box=0.2)
    speck = np.zeros((100, 100), np.uint8)
    speck[0, 0] = 255
    for mask in (corner_mask(), Image.fromarray(speck), Image.fromarray(speck * 0)):
        for seed in range(40):
            expected = plainly(mask, config, np.random.default_rng(seed))
            view, rendered = random_view(mask, config, np.random.default_rng(seed))
            assert view == expected
            assert np.array_equal(rendered, render(mask, view, 128))


@pytest.mark.parametrize(
    ("box", "reduction"),
    [((0, 0, 511, 900), 1), ((0, 0, 512, 900), 2), ((5, 5, 1029, 1028), 2), ((0, 0, 9000, 4000), 8)],
)
def test_a_image_may_be_reduced_while_twice_the_size_is_left(box, reduction):
    assert View(box).reduction(128) == reduction


def test_a_reduced_image_shows_the_same_box():
    full = Image.fromarray(smooth_image(seed=2, width=801, height=603))
    half = full.reduce(2)
    assert half.size == (401, 302)
    view = View((101, 51, 701, 551), flip=True)
    expected = render(full, view, 128).astype(int)
    assert np.abs(render(half, view, 128, 2) - expected).mean() < 0.5
    assert (
        np.abs(render(half, View((105, 51, 705, 551), flip=True), 128, 2) - expected).mean() > 0.5
    )  # four pixels beside
