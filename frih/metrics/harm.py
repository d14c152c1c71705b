"""Doing no harm: whether an image is worse than its composite, by fMSE.

A mean hides harm: a method may improve a few composites that are far off and damage many that were nearly right. Every row has
the fMSE of the result beside that of the composite. The mean of a figure of :data:`HARM` over rows is a share of images.
"""

import math
from collections.abc import Sequence

from frih.config.protocols import Metric
from frih.metrics.scoring import Row, Scores

TOLERANCE = 0.1
"""An increase of the fMSE up to this, in squared levels of 0..255, is not called worse. Rounding a correct image to 8 bits
adds 1/12, so neither rounding nor the float error of a network that changes nothing counts as harm."""
TENTH = 1.1
"""An image is worse by more than a tenth if its fMSE is above the composite's times this."""

HARM = {"worse": Metric("worse↓", "lower"), "worse_10": Metric(">10% worse↓", "lower")}
"""1 or 0 for one image, NaN where the mask is empty. The mean over images is a share, 0..1; tables print it in percent."""


def harm(fmse: float, composite: float) -> Scores:
    """Whether an image is worse than its composite.

    ``worse`` is 1 if its fMSE is above the composite's by more than :data:`TOLERANCE`. ``worse_10`` is 1 if it is worse and its
    fMSE is above :data:`TENTH` times the composite's.

    Args:
        fmse: of the image; NaN if the mask is empty.
        composite: fMSE of the composite, by the same protocol; NaN if the mask is empty.

    Returns:
        1.0 or 0.0 for each name in :data:`HARM`; NaN for both if an fMSE is NaN.
    """
    if math.isnan(fmse) or math.isnan(composite):
        return dict.fromkeys(HARM, math.nan)
    worse = fmse > composite + TOLERANCE
    return {"worse": float(worse), "worse_10": float(worse and fmse > TENTH * composite)}


def with_harm(rows: Sequence[Row]) -> list[Row]:
    """Rows with :func:`harm` of each of their images after the scores: ``worse``, ``worse_10``, ``coarse_worse``.

    Figures that a row already has are kept. Rows without the composite's ``input_fmse`` are returned unchanged.
    """
    return [row._replace(scores=row.scores | _harm_of_all(row.scores) | row.scores) for row in rows]


def relative_change(fmse: float, composite: float) -> float:
    """Change of the fMSE relative to the composite's, in percent; NaN if one of them is.

    A composite's fMSE counts as :data:`TOLERANCE` at least, so that a composite that needs no change has a figure, too.
    """
    return 100 * (fmse - composite) / max(composite, TOLERANCE)


def _harm_of_all(scores: Scores) -> Scores:
    if "input_fmse" not in scores:
        return {}
    prefixes = [name.removesuffix("fmse") for name in scores if name.endswith("fmse") and name != "input_fmse"]
    found = {prefix: harm(scores[f"{prefix}fmse"], scores["input_fmse"]) for prefix in prefixes}
    return {prefix + name: value for prefix, one in found.items() for name, value in one.items()}
