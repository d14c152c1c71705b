"""What the network sees of an image with transparent pixels.

Nobody sees the colours that are stored under transparent pixels; programs leave black or anything there. So the network is
given the visible colours nearby: inside the mask those of the foreground, outside those of the background.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.data.transforms import render, whole
from frih.harmonizing.own_images import is_opaque, to_bytes
from frih.harmonizing.upsampling import extend


def render_visible(pixels: np.ndarray, mask: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """Renders an image at the network's size S; colours count by their alpha.

    Args:
        pixels: (H, W, 3) or, with alpha, (H, W, 4); uint8, uint16, or floating point in [0, 1].
        mask: (S, S) bool, the foreground.
        size: S.

    Returns:
        (S, S, 3) uint8. Where neither foreground nor background is visible it is filled from the other.
    """
    opaque = is_opaque(pixels)
    image = Image.fromarray(to_bytes(pixels[..., :3] if opaque else pixels))
    rendered = render(image, whole(image), size)  # by which Pillow multiplies with alpha before it resizes
    if opaque:
        return rendered
    colours, alpha = rendered[..., :3].astype(np.float32), rendered[..., 3].astype(np.float32) / 255
    sides = (alpha * side for side in (mask, ~mask))
    foreground, background = (extend(colours, side if side.any() else alpha) for side in sides)
    return np.rint(np.where(mask[..., None], foreground, background)).astype(np.uint8)
