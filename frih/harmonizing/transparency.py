"""What the network sees of an image with transparent pixels.

Nobody sees the colours that are stored under transparent pixels; programs leave black or anything there. So the network is
given the visible colours nearby: inside the mask those of the foreground, outside those of the background.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.data.transforms import render, whole
from frih.harmonizing.own_images import is_opaque, is_seen, to_bytes
from frih.harmonizing.upsampling import extend


def render_visible(pixels: np.ndarray, mask: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """Renders an image at the network's size S. Pixels that are not seen are filled from those nearby that are.

    Args:
        pixels: (H, W, 3) or, with alpha, (H, W, 4); uint8, uint16, or floating point in [0, 1].
        mask: (S, S) bool, the foreground.
        size: S.

    Returns:
        (S, S, 3) uint8. Where neither foreground nor background is visible it is filled from the other.
    """
    image = Image.fromarray(to_bytes(pixels[..., :3] if is_opaque(pixels) else _seen(pixels)))
    rendered: NDArray[np.uint8] = render(image, whole(image), size)
    if rendered.shape[2] == 3:
        return rendered
    # Pillow has multiplied by alpha before it resized, so alpha is now the share of each pixel that is seen
    colours, seen = rendered[..., :3].astype(np.float32), rendered[..., 3].astype(np.float32) / 255
    sides = (seen * mask, seen * ~mask)
    foreground, background = (extend(colours, side if side.any() else seen) for side in sides)
    return np.rint(np.where(mask[..., None], foreground, background)).astype(np.uint8)


def _seen(pixels: np.ndarray) -> np.ndarray:
    """An image (H, W, 4) of 8 bits whose pixels are either seen, and opaque, or not."""
    result: NDArray[np.uint8] = to_bytes(pixels).copy()
    result[..., 3] = np.where(is_seen(result[..., 3]), 255, 0)
    return result
