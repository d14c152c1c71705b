"""Masks that are slightly off: of another size, too large by a few pixels, or harder than the foreground's edge.

Masks are (H, W) uint8, 255 = foreground. At the image's own border a mask has no edge: nothing moves or fades there.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.harmonizing.own_images import is_same_shape

Mask = NDArray[np.uint8]


def fitted(mask: Mask, size: tuple[int, int]) -> tuple[Mask, str]:
    """A mask in an image's size, (width, height), if it has the image's shape, and what was done to it; else as it is."""
    given = mask.shape[1], mask.shape[0]
    if given == size or not is_same_shape(size, given):
        return mask, ""
    return resized(mask, size), "resized from {} x {} to {} x {}".format(*given, *size)


def resized(mask: Mask, size: tuple[int, int]) -> Mask:
    """A mask in another size, (width, height). Its edges become soft, and reach one half where they were."""
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BICUBIC))


def shrink(mask: Mask, pixels: int) -> Mask:
    """Moves a mask's edge inwards by so many pixels. The edge stays as hard or soft as it is."""
    *_, shrunk = _shrinking(mask, pixels)
    return shrunk


def fade(mask: Mask, pixels: int) -> NDArray[np.float32]:
    """A mask times a share that grows from 0 at the mask's edge to 1 at N pixels inside.

    In a hard mask the k-th pixel from the edge has the share (k - 1/2) / N. A soft mask fades as the mean of the mask shrunk by
    0 ... N pixels, the first and the last counted half; for a hard one that is the same.

    Args:
        mask: the mask.
        pixels: N, 1 or more.

    Returns:
        (H, W) float32 in [0, 1], nowhere above the mask.
    """
    total, left = np.zeros(mask.shape, np.float32), pixels + 1
    for shrunk in _shrinking(mask, pixels):
        total += shrunk
        left -= 1
    total += (left - 0.5) * shrunk  # the last stands for those that would follow, too
    total -= 0.5 * mask.astype(np.float32)
    return np.asarray(total / (255 * pixels), np.float32)


def _shrinking(mask: Mask, pixels: int) -> Iterator[Mask]:
    """A mask shrunk by 0, 1, ... pixels; the last, where it ends early, does not shrink any more.

    Each step takes the least value of four neighbours, or of eight, which makes an octagon of the radius of the steps.
    """
    yield mask
    for step in range(pixels):
        eight = int((step + 1) * (2**0.5 - 1)) > int(step * (2**0.5 - 1))
        upright = _least(mask, mask)
        shrunk = _least(upright if eight else mask, upright, axis=1)
        if np.array_equal(shrunk, mask):
            return
        mask = shrunk
        yield mask


def _least(values: Mask, others: Mask, axis: int = 0) -> Mask:
    """The least, at each place, of the other values there, of these, and of these on both sides along an axis."""
    least = np.minimum(values, others)
    result, source = np.moveaxis(least, axis, 0), np.moveaxis(values, axis, 0)
    np.minimum(result[1:], source[:-1], out=result[1:])
    np.minimum(result[:-1], source[1:], out=result[:-1])
    return least
