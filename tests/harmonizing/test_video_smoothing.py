import numpy as np
import pytest

from frih.harmonizing.upsampling import Change
from frih.harmonizing.video_smoothing import Smoother

SIZE = 32
HALF_LIFE = 0.5 / np.log(2)
"""With this time, half of the average is left after half a second."""


def change(value, slope=0.0):
    shape = SIZE, SIZE
    return Change(np.full((*shape, 3), value), np.full((*shape, 3), value / 2), np.full((*shape, 3, 3), slope))


def frame(level=100, *, right=None):
    """A grey view whose right half may have another level, and labels: the middle rows are foreground."""
    view = np.full((SIZE, SIZE, 3), level, np.uint8)
    if right is not None:
        view[:, SIZE // 2 :] = right
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[12:20] = 1
    return view, labels


def test_still_frames_by_hand():
    smoother = Smoother(HALF_LIFE)
    assert np.allclose(smoother(change(1, 2), *frame(), 0.0).change, 1)
    made = smoother(change(0, 4), *frame(), 0.5)
    assert np.allclose(made.change, 0.5)
    assert np.allclose(made.slopes, 3)
    assert np.allclose(made.composite, 0)  # the frame's own
    made = smoother(change(0, 0), *frame(), 1.5)  # a frame later than others: a quarter is left
    assert np.allclose(made.change, 0.125)


def test_noise_and_other_submasks_do_not_hinder():
    rng, smoother = np.random.default_rng(0), Smoother(HALF_LIFE)
    view, labels = frame()
    smoother(change(1), view, labels, 0.0)
    noisy = (view + rng.normal(0, 3, view.shape)).clip(0, 255).astype(np.uint8)
    assert np.allclose(smoother(change(0), noisy, 3 * labels, 0.5).change, 0.5, atol=0.01)


@pytest.mark.parametrize("event", ["cut", "foreground"])
def test_a_cut_begins_anew(event):
    smoother = Smoother(HALF_LIFE)
    view, labels = frame()
    smoother(change(1, 1), view, labels, 0.0)
    after = np.where((labels == 0 if event == "cut" else labels > 0)[..., None], 140, view).astype(np.uint8)
    made = smoother(change(0, 0), after, labels, 0.04)
    changed = np.ones_like(labels, bool) if event == "cut" else labels > 0
    assert not made.change[changed].any()
    assert not made.slopes[changed].any()
    if event == "foreground":
        assert np.allclose(made.change[0], 0.5 ** (0.04 / 0.5))  # far from it, the average goes on


def test_what_moves_brings_its_own_change():
    """A small part changes: it follows at once, what is far from it is smoothed."""
    smoother = Smoother(HALF_LIFE)
    view, labels = frame()
    smoother(change(1), view, labels, 0.0)
    moved = view.copy()
    moved[14:18, 24:28] = 200
    made = smoother(change(0), moved, labels, 0.5).change
    assert not made[14:18, 24:28].any()
    assert np.allclose(made[:, :12], 0.5)


def test_slow_light_is_followed():
    """Light that falls by a level a frame: the change, which falls with it, lags by less than ``alike`` lets pass."""
    lags = {}
    for seconds in (0.5, 50.0):
        smoother = Smoother(seconds)
        for number in range(80):
            made = smoother(change(number), *frame(200 - number), number / 24)
            lags[seconds] = number - made.change.mean()
    assert 0 < lags[0.5] < 5  # its limits are 3 and 10 levels
    assert lags[50.0] < 10


def test_no_smoothing():
    smoother, given = Smoother(0), change(1)
    smoother(change(5), *frame(), 0.0)
    assert smoother(given, *frame(), 0.1) is given


def test_all_foreground_has_light_too():
    smoother, (view, labels) = Smoother(HALF_LIFE), frame()
    smoother(change(1), view, labels + 1, 0.0)
    assert not smoother(change(0), view + 40, labels + 1, 0.5).change.any()
