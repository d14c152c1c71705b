"""Cut-outs pasted by hand."""

import numpy as np
import pytest

from frih.common.errors import UserError
from frih.harmonizing.pasting import CENTRE, Coordinate, paste


def grey(height: int, width: int, value: int) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return (np.clip(radius - np.hypot(x, y) + 0.5, 0, 1) * 255).astype(np.uint8)


def at(x: float, y: float) -> tuple[Coordinate, Coordinate]:
    return Coordinate(x), Coordinate(y)


def test_pixels_are_copied_and_soft_ones_blended():
    alpha = np.array([[0, 51, 255], [0, 255, 255]], np.uint8)  # the foreground begins at its second column
    pasted = paste(grey(2, 3, 200), alpha, grey(6, 8, 100), at(4, 3))
    mask, composite = np.zeros((6, 8), int), np.full((6, 8), 100)
    mask[2:4, 3:5], composite[2:4, 3:5] = [[0, 255], [255, 255]], [[100, 200], [200, 200]]
    mask[2, 3], composite[2, 3] = 51, 120
    assert pasted.box == (3, 2, 5, 4)
    assert np.array_equal(pasted.mask, mask)
    assert np.array_equal(pasted.composite, np.repeat(composite[..., None], 3, axis=2))
    assert (pasted.scale, pasted.cut) == (1, 0)


@pytest.mark.parametrize(
    ("place", "scale", "box"),
    [
        (CENTRE, None, (15, 10, 25, 20)),
        (CENTRE, 2, (10, 5, 30, 25)),
        (at(0, 0), 1, (-5, -5, 5, 5)),
        ((Coordinate(25, percent=True), Coordinate(100, percent=True)), 0.5, (8, 28, 13, 33)),
        (at(12.5, 7.5), 0.5, (10, 5, 15, 10)),
        (at(-4, 15), 1, (-9, 10, 1, 20)),
        (CENTRE, 1000, (-4980, -4985, 5020, 5015)),
    ],
)
def test_the_foreground_lies_where_it_should(place, scale, box):
    """A square of 10 within a cut-out of 40, which is not in the middle."""
    alpha = np.zeros((40, 40), np.uint8)
    alpha[4:14, 20:30] = 255
    pasted = paste(grey(40, 40, 200), alpha, grey(30, 40, 100), place, scale)
    left, top, right, bottom = pasted.box
    assert (left, top, right, bottom) == box
    inside = np.zeros((30, 40), bool)
    inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    assert np.array_equal(pasted.mask >= 128, inside)
    share = (
        max(0, min(right, 40) - max(left, 0))
        * max(0, min(bottom, 30) - max(top, 0))
        / ((right - left) * (bottom - top))
    )
    assert pasted.cut == pytest.approx(1 - share, abs=0.02)


def test_a_foreground_that_is_too_large_is_made_to_fit():
    alpha = np.zeros((200, 300), np.uint8)
    alpha[50:150, 100:140] = 255
    pasted = paste(grey(200, 300, 200), alpha, grey(50, 60, 100))
    assert (pasted.scale, pasted.box, pasted.cut) == (0.5, (20, 0, 40, 50), 0)


@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("scale", [0.1, 0.3, 0.5, 0.77, 0.99, 1, 1.3, 4])
def test_what_lies_under_transparent_pixels_leaves_no_fringe(hidden, scale):
    """A foreground of the background's grey is not seen, whatever its size and the colours around it."""
    alpha = disc(60, 25)
    colours = np.where(alpha[..., None] > 0, np.uint8(90), np.uint8(hidden)).repeat(3, axis=2)
    pasted = paste(colours, alpha, grey(50, 70, 90), scale=scale)
    assert (pasted.composite == 90).all()
    assert pasted.mask.max() == 255


def test_a_reduced_foreground_has_its_own_colours_to_the_edge():
    rng = np.random.default_rng(0)
    colours, alpha = rng.integers(120, 136, (64, 64, 3), dtype=np.uint8), disc(64, 28)
    colours[alpha == 0] = 0
    pasted = paste(colours, alpha, grey(40, 40, 0), scale=0.4)
    shown = pasted.composite[pasted.mask > 30] / (pasted.mask[pasted.mask > 30, None] / 255)
    assert shown.min() > 112
    assert shown.max() < 144


def test_over_a_background_with_alpha():
    alpha = np.array([[255, 128, 128, 0]], np.uint8)
    background = np.dstack([grey(1, 4, 100), np.array([[0, 0, 128, 77]], np.uint8)])
    pasted = paste(grey(1, 4, 200), alpha, background, at(1.5, 0.5))
    # 0.502 over 0.502 is 0.752; its grey is (0.502 x 200 + 0.25 x 100) / 0.752
    assert pasted.composite[0, :, 0].tolist() == [200, 200, 167, 100]
    assert pasted.composite[0, :, 3].tolist() == [255, 128, 192, 77]


def test_edges_move_and_fade_at_the_size_of_the_composite():
    alpha = np.full((20, 20), 255, np.uint8)
    pasted = paste(grey(20, 20, 200), alpha, grey(30, 30, 100), scale=0.5, shrunk=1, faded=2)
    assert pasted.mask[15, 9:16].tolist() == [0, 0, 64, 191, 255, 255, 255]
    assert pasted.composite[15, 9:16, 0].tolist() == [100, 100, 125, 175, 200, 200, 200]
    with pytest.raises(UserError, match="--shrink, --feather: leave nothing of the foreground"):
        paste(grey(20, 20, 200), alpha, grey(30, 30, 100), scale=0.5, shrunk=5)


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 1e300, 1e-9, 1e-300])
def test_no_scale(scale):
    with pytest.raises(UserError, match="--scale"):
        paste(grey(9, 9, 0), np.full((9, 9), 255, np.uint8), grey(9, 9, 0), CENTRE, scale)


@pytest.mark.parametrize("place", [at(-5, 3), at(3, 14), at(1e30, 3), at(-1e30, -1e30)])
def test_nothing_within_the_background(place):
    with pytest.raises(UserError, match=r"the foreground, 9 x 9 pixels, would lie outside of the background \(9 x 9\)"):
        paste(grey(9, 9, 0), np.full((9, 9), 255, np.uint8), grey(9, 9, 0), place)


def test_too_small_to_be_seen():
    alpha = np.zeros((99, 99), np.uint8)
    alpha[50, 50] = 255
    with pytest.raises(UserError, match="would not be seen in the background"):
        paste(grey(99, 99, 0), alpha, grey(9, 9, 0), scale=0.1)
