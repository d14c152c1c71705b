"""The colours of a video: brightness and two colour differences (Y'CbCr), the differences at half the size.

A frame is shown to the network as RGB. What comes back is only the change, which is added to the frame's own planes. So pixels
that do not change keep their values, whatever the way to RGB and back would round or blur.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]
"""Y' (H, W); Cb and Cr, of H and W halved (rounded up) or of the size of Y'."""

BT709, BT601, BT2020 = 1, 6, 9
"""Matrices, as FFmpeg numbers them."""
_LUMA = {
    BT709: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    BT601: (0.299, 0.114),
    7: (0.212, 0.087),
    BT2020: (0.2627, 0.0593),
}
"""The shares of red and blue in Y'."""


class Colours(NamedTuple):
    """How planes are to be understood."""

    matrix: int
    """As FFmpeg numbers it. If it is none of those above, BT.709 is taken from 720 rows on, else BT.601."""
    full: bool
    """Y' spans 0..255; else 16..235, as in most videos."""


def to_rgb(planes: Planes, colours: Colours) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of planes."""
    height, width = planes[0].shape
    layers = [Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in planes]
    inverse = np.linalg.inv(_matrix(colours, height))
    black = np.array([0 if colours.full else 16, 128, 128])
    weights = np.column_stack([inverse, -inverse @ black])
    return np.asarray(Image.merge("RGB", layers).convert("RGB", tuple(weights.ravel())))


def add_rgb_change(planes: Planes, before: np.ndarray, after: np.ndarray, colours: Colours) -> Planes:
    """Adds a change of RGB to planes.

    Args:
        planes: of a frame.
        before: (H, W, 3) uint8, the frame as :func:`to_rgb` gave it.
        after: (H, W, 3) uint8, what it has become.
        colours: of the planes.

    Returns:
        New planes. A value stays where ``before`` and ``after`` agree; one of Cb and Cr, where they agree in all of its pixels.
    """
    change = (after.astype(np.int16) - before).astype(np.float32)
    change = change @ _matrix(colours, len(before)).T.astype(np.float32)

    def added(plane: NDArray[np.uint8], layer: np.ndarray) -> NDArray[np.uint8]:
        height, width = plane.shape
        if plane.shape != layer.shape:
            layer = np.asarray(Image.fromarray(layer).resize((width, height), Image.Resampling.BOX))
        return np.asarray(np.rint(plane + layer).clip(0, 255).astype(np.uint8))

    y, cb, cr = (added(plane, np.ascontiguousarray(change[..., k])) for k, plane in enumerate(planes))
    return y, cb, cr


def _matrix(colours: Colours, height: int) -> NDArray[np.float64]:
    """(3, 3): Y', Cb and Cr of R, G and B in 0..255, without black's own values."""
    red, blue = _LUMA.get(colours.matrix) or _LUMA[BT709 if height >= 720 else BT601]
    luma = np.array([red, 1 - red - blue, blue])
    rows = [luma, (np.array([0, 0, 1]) - luma) / (2 - 2 * blue), (np.array([1, 0, 0]) - luma) / (2 - 2 * red)]
    spans = (255, 255, 255) if colours.full else (219, 224, 224)
    return np.asarray(np.stack(rows) * np.array(spans)[:, None] / 255)
