"""A photo's foreground in the colours of a reference object: one composite, or why there is none.

The transfers are those of :mod:`~frih.data.color_transfer`; the bounds of what counts as a composite are here.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from frih.data.color_transfer import TRANSFERS, Colors, regrain

MIN_FMSE, MAX_FMSE = 60.0, 4500.0
"""A composite whose foreground differs by less counts as unchanged, by more as unreal (mean square, 0..255)."""
MAX_CLIPPED = 0.03
"""Share of the foreground's values that may newly be 0 or 255."""
CONTRAST = (0.5, 1.7)
"""Bounds of the foreground's standard deviation after restyling, relative to that before."""
MAX_STRANGE = 20.0
"""Bound of the foreground's change of hue and gain of chroma, in CIELAB, root mean square: light takes colour away from things
more easily than it gives them another."""

REFERENCE_PIXELS = 8_000
"""So many pixels of a reference are enough; see :func:`thinned`."""

_JUDGED_PIXELS, _TRIAL_PIXELS = 10_000, 2_000


class Restyled(NamedTuple):
    """What became of a foreground."""

    picture: NDArray[np.uint8] | None
    """(H, W, 3), the composite; None where a filter rejects it."""
    fault: str | None
    """Why it is rejected, in a word or two."""
    fmse: float
    """Mean square of the foreground's change, 0..255."""


def restyle(real: NDArray[np.uint8], mask: NDArray[np.uint8], reference: Colors, transfer: str) -> Restyled:
    """Makes a composite, or says why it is none.

    Args:
        real: (H, W, 3) photo.
        mask: (H, W), 255 = foreground; the foreground is laid over the photo by it, so that grey borders blend.
        reference: (N, 3) RGB in [0, 1], the colours to take.
        transfer: a name in :data:`~frih.data.color_transfer.TRANSFERS`; "pitie" is regrained.
    """
    region = mask > 0
    opacity = mask[region][:, None] / 255
    picture = real / 255
    source = picture[region]
    restyled = TRANSFERS[transfer](source, reference)
    fault = find_fault(source, restyled)
    if not fault and transfer == "pitie":
        box = _box_around(region)
        restyled = regrain(picture[box], restyled, region[box])
        fault = "unchanged" if _fmse(source, restyled) < MIN_FMSE else None
    if fault:
        return Restyled(None, fault, _fmse(source, restyled))
    composite = real.copy()
    composite[region] = np.rint(255 * (source + opacity * (restyled - source)))
    return Restyled(composite, None, _fmse(source, restyled))


def restyle_each(
    real: NDArray[np.uint8], mask: NDArray[np.uint8], references: Iterable[Colors], transfer: str
) -> Iterator[Restyled]:
    """What :func:`restyle` makes of one reference after the other.

    It is faster: a composite to be rejected mostly shows it on a few pixels, and is then made of no more.
    """
    some = thinned(real[mask > 0], _TRIAL_PIXELS) / 255
    for reference in references:
        trial = TRANSFERS[transfer](some, thinned(reference, _TRIAL_PIXELS))
        fault = find_fault(some, trial)
        if fault:
            yield Restyled(None, fault, _fmse(some, trial))
        else:
            yield restyle(real, mask, reference, transfer)


def thinned(pixels: NDArray[Any], count: int) -> NDArray[Any]:
    """Every n-th of the pixels, so that there are no more than so many."""
    return pixels[:: 1 + len(pixels) // count]


def find_fault(source: Colors, restyled: Colors) -> str | None:
    """What is wrong with a restyled foreground, (N, 3) before and after: the first bound above that it breaks, or None."""
    change = _fmse(source, restyled)
    if change < MIN_FMSE:
        return "unchanged"
    if not change <= MAX_FMSE:
        return "too far from the photo"
    clipped = ((restyled <= 0) | (restyled >= 1)) & (source > 0) & (source < 1)
    if clipped.mean() > MAX_CLIPPED:
        return "clipped"
    contrast = restyled.std(axis=0).mean() / max(source.std(axis=0).mean(), 1e-3)
    if not CONTRAST[0] <= contrast <= CONTRAST[1]:
        return "flat" if contrast < CONTRAST[0] else "glaring"
    return "strangely coloured" if _strangeness(source, restyled) > MAX_STRANGE else None


def save_jpeg(picture: NDArray[np.uint8], file: Path | IO[bytes]) -> None:
    """Writes a picture, (H, W, 3), as JPEG of quality 95 with colours at full resolution."""
    Image.fromarray(picture).save(file, "JPEG", quality=95, subsampling=0)


def _box_around(region: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of a picture that holds the region and its neighbours."""
    spans = []
    for axis in (1, 0):
        taken = np.flatnonzero(region.any(axis=axis))
        spans.append(slice(max(int(taken[0]) - 1, 0), int(taken[-1]) + 2))
    return spans[0], spans[1]


def _strangeness(source: Colors, restyled: Colors) -> float:
    some = slice(None, None, 1 + len(source) // _JUDGED_PIXELS)
    before, after = rgb2lab(source[some])[:, 1:], rgb2lab(restyled[some])[:, 1:]
    chroma_before, chroma_after = np.hypot(*before.T), np.hypot(*after.T)
    hue = 2 * (chroma_before * chroma_after - (before * after).sum(axis=1))  # squared difference of hue, CIE 1976
    return float(np.sqrt((hue + np.maximum(chroma_after - chroma_before, 0) ** 2).mean()))


def _fmse(source: Colors, restyled: Colors) -> float:
    return float(255**2 * ((restyled - source) ** 2).mean())
