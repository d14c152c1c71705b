import numpy as np
import pytest

from frih.harmonizing.video_colours import BT601, BT709, Colours, add_rgb_change, to_rgb

RED = [  # BT.709: Y' = 0.2126, Cb = -0.2126 / 1.8556, Cr = 0.5; BT.601: Y' = 0.299, Cb = -0.299 / 1.772
    (Colours(BT709, full=True), (54, 99, 255)),
    (Colours(BT709, full=False), (63, 102, 240)),
    (Colours(BT601, full=True), (76, 85, 255)),
    (Colours(BT601, full=False), (81, 90, 240)),
    (Colours(2, full=False), (81, 90, 240)),  # unknown, and less than 720 rows
]


def planes(y, cb, cr, shape=(4, 6)):
    half = (shape[0] + 1) // 2, (shape[1] + 1) // 2
    return np.full(shape, y, np.uint8), np.full(half, cb, np.uint8), np.full(half, cr, np.uint8)


@pytest.mark.parametrize(("colours", "values"), RED)
def test_red_by_hand(colours, values):
    assert np.abs(to_rgb(planes(*values), colours).astype(int) - (255, 0, 0)).max() <= 2  # Y'CbCr is rounded
    grey, red = np.full((4, 6, 3), 128, np.uint8), np.tile(np.array([255, 0, 0], np.uint8), (4, 6, 1))
    black = to_rgb(planes(0 if colours.full else 16, 128, 128), colours)
    assert not black.any()
    made = add_rgb_change(planes(0 if colours.full else 16, 128, 128), black, red, colours)
    assert [int(plane[0, 0]) for plane in made] == pytest.approx(values, abs=1)
    assert [plane.shape for plane in made] == [(4, 6), (2, 3), (2, 3)]
    assert all((plane == plane[0, 0]).all() for plane in made)
    same = add_rgb_change(planes(200, 30, 7), grey, grey, colours)
    assert [int(plane[1, 1]) for plane in same] == [200, 30, 7]


def test_large_unknown_videos_are_bt709_and_odd_sizes_fit():
    assert np.abs(to_rgb(planes(63, 102, 240, (720, 3)), Colours(2, full=False)).astype(int) - (255, 0, 0)).max() <= 2
    given = planes(100, 120, 130, (5, 7))
    before = to_rgb(given, Colours(BT601, full=False))
    after = before.copy()
    after[4, 6] += 40
    y, cb, cr = add_rgb_change(given, before, after, Colours(BT601, full=False))
    assert y[4, 6] == 100 + round(40 * 219 / 255)
    assert (np.delete(y.ravel(), -1) == 100).all()
    assert (cb == 120).all()  # grey has no Cb
    assert (cr == 130).all()
