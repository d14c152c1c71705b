"""Pastes a cut-out foreground into another image: the composite, and its mask.

Colours are weighted by alpha when the cut-out is resized. So those that are stored under transparent pixels, which nobody sees,
leave no dark or light fringe.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.common.errors import UserError
from frih.data.images import HALF
from frih.harmonizing.mask_edges import fade, shrink

Bytes = NDArray[np.uint8]

_LONGEST = 1_000_000
"""The most pixels of a side of the resized cut-out."""


class Coordinate(NamedTuple):
    """A place along a side of the background."""

    value: float
    percent: bool = False
    """Of the side; otherwise the value is in pixels."""

    def of(self, side: int) -> float:
        """The place in pixels."""
        return self.value * side / 100 if self.percent else self.value


CENTRE = Coordinate(50, percent=True), Coordinate(50, percent=True)


class Pasted(NamedTuple):
    """A composite."""

    composite: Bytes
    """(H, W, 3 or 4), as the background."""
    mask: Bytes
    """(H, W), 255 = the cut-out."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom of the foreground in the background; it may reach beyond it."""
    scale: float
    cut: float
    """The share of the foreground that lies beyond the background, and is cut off."""


def paste(
    colours: Bytes,
    alpha: Bytes,
    background: Bytes,
    at: tuple[Coordinate, Coordinate] = CENTRE,
    scale: float | None = None,
    *,
    shrunk: int = 0,
    faded: int = 0,
) -> Pasted:
    """Pastes a cut-out into a background.

    The foreground is what is at least half opaque; the box around it is placed, on whole pixels. Without a change of size its
    pixels are copied; otherwise they are resampled, by Lanczos' filter to a smaller size and bicubically to a larger one.

    Args:
        colours: (h, w, 3).
        alpha: (h, w), 255 = opaque, with some foreground.
        background: (H, W, 3) or, with alpha, (H, W, 4).
        at: x and y of the foreground's centre.
        scale: of the cut-out; None for 1, or less where the foreground would be larger than the background.
        shrunk: by how many pixels of the background the foreground's edge moves inwards.
        faded: over how many pixels of the background the foreground fades out within its edge.

    Raises:
        UserError: no foreground lies within the background, or none is left; or no image can have that scale.
    """
    height, width = background.shape[:2]
    left, top, right, bottom = _foreground(alpha)
    if scale is None:
        scale = min(1.0, width / (right - left), height / (bottom - top))
    if not 0 < scale < math.inf:
        raise UserError(f"--scale: must be a number above 0, not {scale:g}")
    longest = scale * max(alpha.shape)
    if not 1 <= longest <= _LONGEST:
        size = "less than a pixel" if longest < 1 else f"more than {_LONGEST} pixels"
        raise UserError(f"--scale {scale:g}: makes the cut-out's longer side {size}; 1 keeps the size that it has")
    x = _span(alpha.shape[1], (left, right), at[0].of(width), scale)
    y = _span(alpha.shape[0], (top, bottom), at[1].of(height), scale)
    box = x.to(left), y.to(top), x.to(right), y.to(bottom)
    there = y.within(height), x.within(width)
    mask, result = np.zeros((height, width), np.uint8), background.copy()
    if mask[there].size:
        seen, mask[there] = _resampled(colours, alpha, x, y, there)
    if not (mask >= HALF).any():
        outside = box[2] <= 0 or box[0] >= width or box[3] <= 0 or box[1] >= height
        raise UserError(
            f"--at, --scale: the foreground, {box[2] - box[0]} x {box[3] - box[1]} pixels, would "
            f"{'lie outside of' if outside else 'not be seen in'} the background ({width} x {height}); give another place for "
            "its centre, or a larger scale"
        )
    whole = x.ratio * y.ratio * float(alpha.sum(dtype=np.int64))
    inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
    cut = 0.0 if inside else max(0.0, 1 - float(mask.sum(dtype=np.int64)) / whole)
    mask = shrink(mask, shrunk)
    if faded:
        mask = np.rint(255 * fade(mask, faded)).astype(np.uint8)
    if not (mask >= HALF).any():
        raise UserError("--shrink, --feather: leave nothing of the foreground; give fewer pixels")
    result[there] = _over(seen, mask[there], background[there])
    return Pasted(result, mask, box, scale, cut)


class _Span(NamedTuple):
    """A cut-out along one side of the background, in its pixels."""

    start: int
    size: int
    ratio: float
    """Pixels for each of the cut-out as it is stored."""

    def to(self, edge: int) -> int:
        """The place of an edge between stored pixels."""
        return self.start + math.floor(self.ratio * edge + 0.5)

    def within(self, side: int) -> slice:
        """The part that lies in the background."""
        return slice(max(0, self.start), max(0, min(side, self.start + self.size)))


def _span(stored: int, foreground: tuple[int, int], centre: float, scale: float) -> _Span:
    size = max(1, round(scale * stored))
    ratio = size / stored
    return _Span(math.floor(centre - ratio * sum(foreground) / 2 + 0.5), size, ratio)


def _foreground(alpha: Bytes) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is at least half opaque."""
    rows, columns = (np.flatnonzero((alpha >= HALF).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _resampled(
    colours: Bytes, alpha: Bytes, x: _Span, y: _Span, there: tuple[slice, slice]
) -> tuple[NDArray[np.float32], Bytes]:
    """The part of the resized cut-out at a place of the background: colours, 0 to 255, and alpha."""
    left, right = there[1].start - x.start, there[1].stop - x.start
    top, bottom = there[0].start - y.start, there[0].stop - y.start
    if (x.ratio, y.ratio) == (1, 1):
        part = slice(top, bottom), slice(left, right)
        return colours[part].astype(np.float32), alpha[part]
    box = left / x.ratio, top / y.ratio, min(right / x.ratio, alpha.shape[1]), min(bottom / y.ratio, alpha.shape[0])
    way = Image.Resampling.LANCZOS if x.ratio * y.ratio < 1 else Image.Resampling.BICUBIC

    def resized(plane: np.ndarray) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(plane).resize((right - left, bottom - top), way, box))

    share = alpha.astype(np.float32) / 255
    cover = resized(share)
    weight = np.maximum(cover, 1 / 512)  # where less is opaque, nothing is seen
    seen = np.stack([resized(colours[..., c] * share) / weight for c in range(3)], axis=2)
    return seen.clip(0, 255), np.rint(255 * cover.clip(0, 1)).astype(np.uint8)


def _over(colours: NDArray[np.float32], mask: Bytes, background: Bytes) -> Bytes:
    """Colours (H, W, 3) over a background, which stays where the mask is 0."""
    share = mask[..., None].astype(np.float32) / 255
    behind, cover = 1 - share, np.ones_like(share)
    result: Bytes = background.copy()
    if background.shape[2] == 4:
        behind *= background[..., 3:].astype(np.float32) / 255
        cover = share + behind
        result[..., 3] = np.rint(255 * cover[..., 0])
    mixed = (share * colours + behind * background[..., :3]) / np.maximum(cover, 1 / 512)
    result[..., :3] = np.rint(mixed)
    result[mask == 0] = background[mask == 0]
    return result
