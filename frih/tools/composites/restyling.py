"""Gives a photo's foreground the colours of one or several reference objects: the result is a composite, or a fault.

The transfers are those of :mod:`~frih.tools.composites.color_transfer`. This module bounds what counts as a composite.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from frih.tools.composites.color_transfer import TRANSFERS, Colors, Transfer, regrain
from frih.tools.composites.fast_transfer import FAST_TRANSFERS
from frih.tools.composites.fast_transfer import regrain as fast_regrain
from frih.tools.composites.regions import divide, transfer_regions

MIN_FMSE, MAX_FMSE = 60.0, 4500.0
"""If the foreground's mean square change (0..255) is less, the composite counts as unchanged; if it is more, as unreal."""
MAX_CLIPPED = 0.03
"""Bound of the share of the foreground's values that become 0 or 255."""
CONTRAST = (0.5, 1.7)
"""Bounds of the foreground's standard deviation after restyling, relative to that before."""
MAX_STRANGE = 20.0
"""Bound of the change of hue and gain of chroma, root mean square in CIELAB: light may take colour away from a thing, but it
seldom gives it another."""
TOO_FAR = "too far from the photo"
ONE_COLOR = "of one colour"
"""The fault of a foreground without two colour regions; it is the same for all references."""

REFERENCE_PIXELS = 8_000
"""So many pixels of a reference are enough; see :func:`thinned`."""

_JUDGED_PIXELS = 10_000


class Restyled(NamedTuple):
    """The result for a foreground."""

    image: NDArray[np.uint8] | None
    """The composite, (H, W, 3); None if it is rejected."""
    fault: str | None
    """The reason why it is rejected, in a few words."""
    fmse: float
    """Mean square of the foreground's change, 0..255."""
    regions: NDArray[np.uint8] | None = None
    """(H, W): 0 outside the foreground, k in the k-th colour region; None where the foreground was restyled as a whole."""


class Attempt(NamedTuple):
    """One way to restyle a foreground."""

    transfer: str
    """A name in :data:`~frih.tools.composites.color_transfer.TRANSFERS`."""
    references: Sequence[Colors]
    """The colours to take, (N, 3) RGB in [0, 1] each: of one reference, or one for each colour region
    (:mod:`~frih.tools.composites.regions`)."""


def restyle(real: NDArray[np.uint8], mask: NDArray[np.uint8], attempt: Attempt) -> Restyled:
    """Makes a composite, or tells its fault.

    The result of "pitie" is regrained; that of several regions too, which removes their seams.

    Args:
        real: (H, W, 3) photo.
        mask: (H, W), 255 = foreground; it is the foreground's opacity, so that grey borders blend.
        attempt: the transfer and the colours to take.
    """
    return _Foreground(real, mask, _LITERAL).restyle(attempt)


def restyle_each(
    real: NDArray[np.uint8], mask: NDArray[np.uint8], attempts: Iterable[Attempt], *, fast: bool = False
) -> Iterator[Restyled]:
    """Yields what :func:`restyle` returns, for one attempt after the other.

    It is faster, because it tries a few pixels first, on which most faults show. ``fast`` uses the compiled transfers
    (:mod:`~frih.tools.composites.fast_transfer`), whose results may differ by a level or two, and looks for faults on fewer
    pixels.
    """
    foreground = _Foreground(real, mask, _FAST if fast else _LITERAL)
    for attempt in attempts:
        yield foreground.try_out(attempt) or foreground.restyle(attempt)


class _Way(NamedTuple):
    """The functions that restyle, and the numbers of pixels that decide."""

    transfers: dict[str, Transfer]
    regrain: Callable[[Colors, Colors, NDArray[np.bool_]], Colors]
    trial: int
    """Pixels that are restyled first."""
    judged: int | None
    """Pixels on which faults are looked for; None: all."""


_LITERAL = _Way(TRANSFERS, regrain, trial=2_000, judged=None)
_FAST = _Way(FAST_TRANSFERS, fast_regrain, trial=1_000, judged=2_000)


class _Foreground:
    """A photo's foreground, for several attempts."""

    def __init__(self, real: NDArray[np.uint8], mask: NDArray[np.uint8], way: _Way) -> None:
        self.real, self.mask, self.way = real, mask, way
        self.region = mask > 0
        self.image = real / 255
        self.source = self.image[self.region]
        self.labels: dict[int, NDArray[np.intp]] = {}

    def try_out(self, attempt: Attempt) -> Restyled | None:
        """Restyles a few pixels; returns their fault, if they have one."""
        if self.way is _FAST and len(attempt.references) == 1:
            # every transfer gives the foreground about the reference's mean, and the change is at least that of the mean
            change = _fmse(self.source.mean(axis=0), attempt.references[0].mean(axis=0))
            if change > MAX_FMSE:
                return Restyled(None, TOO_FAR, change)
        few = [thinned(reference, self.way.trial) for reference in attempt.references]
        _, fault, change = self._transfer(attempt._replace(references=few), self.way.trial)
        return Restyled(None, fault, change) if fault else None

    def restyle(self, attempt: Attempt) -> Restyled:
        """Restyles all pixels."""
        restyled, fault, change = self._transfer(attempt, len(self.source) + 1)
        if not fault and (attempt.transfer == "pitie" or len(attempt.references) > 1):
            box = _box_around(self.region)
            restyled = self.way.regrain(self.image[box], restyled, self.region[box])
            change = _fmse(self.source, restyled)
            fault = "unchanged" if change < MIN_FMSE else None
        if fault:
            return Restyled(None, fault, change)
        opacity = self.mask[self.region][:, None] / 255
        composite = self.real.copy()
        composite[self.region] = np.rint(255 * (self.source + opacity * (restyled - self.source)))
        return Restyled(composite, None, change, self._numbered(len(attempt.references)))

    def _numbered(self, count: int) -> NDArray[np.uint8] | None:
        if count < 2:
            return None
        numbers = np.zeros(self.region.shape, np.uint8)
        numbers[self.region] = 1 + self._regions(count)
        return numbers

    def _transfer(self, attempt: Attempt, most: int) -> tuple[Colors, str | None, float]:
        """At most so many pixels in their new colours, their fault, and their change."""
        source, references = thinned(self.source, most), attempt.references
        transfer = self.way.transfers[attempt.transfer]
        if len(references) == 1:
            restyled = transfer(source, references[0])
            return restyled, _find_fault(*self._judged(source, restyled)), _fmse(source, restyled)
        labels = thinned(self._regions(len(references)), most)
        if not labels.any():
            return source, ONE_COLOR, 0.0
        restyled = transfer_regions(source, labels, references, transfer)
        before, after, labels = self._judged(source, restyled, labels)
        fault = _find_fault(before, after)
        for one in [] if fault else np.unique(labels):
            fault = fault or _find_unreal(before[labels == one], after[labels == one])
        return restyled, fault, _fmse(source, restyled)

    def _judged(self, *pixels: NDArray[Any]) -> list[NDArray[Any]]:
        return [thinned(one, self.way.judged or len(one) + 1) for one in pixels]

    def _regions(self, count: int) -> NDArray[np.intp]:
        if count not in self.labels:
            box = _box_around(self.region)
            self.labels[count] = divide(self.image[box], self.region[box], count)
        return self.labels[count]


def thinned(pixels: NDArray[Any], count: int) -> NDArray[Any]:
    """Every n-th of the pixels, with the smallest n that leaves ``count`` or fewer."""
    return pixels[:: 1 + len(pixels) // count]


def _find_fault(source: Colors, restyled: Colors) -> str | None:
    """The first of the bounds above that a foreground breaks, (N, 3) before and after; None if it keeps all."""
    change = _fmse(source, restyled)
    if change < MIN_FMSE:
        return "unchanged"
    if not change <= MAX_FMSE:
        return TOO_FAR
    clipped = ((restyled <= 0) | (restyled >= 1)) & (source > 0) & (source < 1)
    if clipped.mean() > MAX_CLIPPED:
        return "clipped"
    contrast = restyled.std(axis=0).mean() / max(source.std(axis=0).mean(), 1e-3)
    if not CONTRAST[0] <= contrast <= CONTRAST[1]:
        return "flat" if contrast < CONTRAST[0] else "glaring"
    return _find_unreal(source, restyled)


def _find_unreal(source: Colors, restyled: Colors) -> str | None:
    """The bounds that every colour region must keep, too."""
    if _fmse(source, restyled) > MAX_FMSE:
        return TOO_FAR
    return "strangely coloured" if _strangeness(source, restyled) > MAX_STRANGE else None


def _box_around(region: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The part of an image that holds the region and its neighbours."""
    rows, columns = np.nonzero(region)
    return slice(max(rows.min() - 1, 0), rows.max() + 2), slice(max(columns.min() - 1, 0), columns.max() + 2)


def _strangeness(source: Colors, restyled: Colors) -> float:
    some = slice(None, None, 1 + len(source) // _JUDGED_PIXELS)
    before, after = rgb2lab(source[some])[:, 1:], rgb2lab(restyled[some])[:, 1:]
    chroma_before, chroma_after = np.hypot(*before.T), np.hypot(*after.T)
    hue = 2 * (chroma_before * chroma_after - (before * after).sum(axis=1))  # squared difference of hue, CIE 1976
    return float(np.sqrt((hue + np.maximum(chroma_after - chroma_before, 0) ** 2).mean()))


def _fmse(source: Colors, restyled: Colors) -> float:
    return float(255**2 * ((restyled - source) ** 2).mean())
