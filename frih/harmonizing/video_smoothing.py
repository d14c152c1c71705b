"""Smooths the network's change of a video's frames over time, so that still parts do not flicker.

The network sees each frame by itself. A little noise moves its change from frame to frame, and a submask may appear and vanish.
So at the network's size the change is averaged over past frames, pixel by pixel::

    keep     = exp(-time since the last frame / seconds) x alike(pixel) x alike(light)
    smoothed = keep x smoothed before + (1 - keep) x the frame's own change

``alike`` is 1 where a frame looks as the frames in the average did, and falls to 0 as it differs more. It is taken of each
pixel and its neighbourhood, since what moves brings its own change along; and of the background's colours as a whole, whatever
their places, since a cut or another light asks for another change of the whole foreground. The frames' look is averaged with
the same weights. So a light that changes slowly is followed as well: the average lags behind by no more than ``alike`` lets
pass.

Slopes (:mod:`frih.harmonizing.upsampling`) are smoothed as the change is. They belong to pixels, not to submasks, so a frame
may have other submasks than the last.
"""

import numpy as np
from numpy.typing import NDArray

from frih.harmonizing.upsampling import Change, smooth

_NEAR = 2.0
"""Pixels are compared with their neighbourhood, so that noise averages out: a standard deviation, in the network's pixels."""
_PIXEL = 4.0, 16.0
"""A pixel is alike up to the first difference in levels, and another from the second on."""
_LIGHT = 3.0, 10.0
"""The same for the background's colours as a whole."""
_SHARES = np.linspace(0.02, 0.98, 17)
"""The background's colours are told by the levels below which these shares of its pixels lie, channel by channel."""


class Smoother:
    """Smooths changes frame by frame.

    Args:
        seconds: the time over which changes are averaged; 0 leaves each as it is.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._time = 0.0
        self._view: NDArray[np.float32] | None = None

    def __call__(self, change: Change, view: np.ndarray, labels: np.ndarray, time: float) -> Change:
        """Smooths the change of the next frame.

        Args:
            change: the network's, as it is for this frame by itself.
            view: (S, S, 3) uint8, the frame as the network saw it.
            labels: (S, S), 0 = background.
            time: of the frame, in seconds.

        Returns:
            The change to make. Its ``composite`` is the frame's own.
        """
        if self.seconds <= 0:
            return change
        view = view.astype(np.float32)
        light = _light(view, labels)
        if self._view is None:
            self._view, self._light, self._change, self._slopes = view, light, change.change, change.slopes
        else:
            away = np.abs(_around(view - self._view)).max(axis=2)
            all_over = np.exp((self._time - time) / self.seconds) * _alike(np.abs(light - self._light).mean(), _LIGHT)
            keep = (all_over * _alike(away, _PIXEL))[..., None]
            self._view = view + keep * (self._view - view)
            self._light = light + all_over * (self._light - light)
            self._change = change.change + keep * (self._change - change.change)
            self._slopes = change.slopes + keep[..., None] * (self._slopes - change.slopes)
        self._time = time
        return change._replace(change=self._change, slopes=self._slopes)


def _around(values: np.ndarray) -> np.ndarray:
    """(S, S, 3) smoothed over each pixel's neighbourhood; beyond the border, the border's pixels are repeated."""
    reach = int(4 * _NEAR + 0.5)
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return smooth(padded, _NEAR)[reach:-reach, reach:-reach]


def _light(view: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(17, 3): the background's colours, in levels; the whole frame's where there is no background."""
    background = labels == 0
    pixels = view[background] if background.any() else view.reshape(-1, 3)
    return np.asarray(np.quantile(pixels, _SHARES, axis=0))


def _alike(difference: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """1 up to the first limit, 0 from the second on."""
    return np.asarray(np.clip((limits[1] - difference) / (limits[1] - limits[0]), 0, 1))
