"""Doing no harm: whether an image is worse than the composite that it was made of, by fMSE.

A mean hides it: a method may mend a few composites that are far off and spoil the many that were nearly right. All follows from
the fMSE of the result and of the composite, which stand beside each other in every row; means over rows are shares of images.
"""

import math
from collections.abc import Sequence

from frih.metrics.scoring import Metric, Row, Scores

TOLERANCE = 0.1
"""Increase of the fMSE, in squared levels of 0..255, that is not called worse. Rounding to 8 bits alone adds 1/12 to an image
that is right. So neither that nor the float error of a network that leaves a composite as it is counts as harm."""
TENTH = 1.1
"""Times the composite's fMSE: above it an image is worse by more than a tenth."""

HARM = {
    "worse": Metric("worse↓", "share of images", "lower", "the fMSE is above the composite's"),
    "worse_10": Metric(">10% worse↓", "share of images", "lower", "the fMSE is above 1.1 times the composite's"),
}
"""Of one image 1 or 0, NaN where the mask is empty; of several the share, 0..1, which tables print in percent."""


def harm(fmse: float, composite: float) -> Scores:
    """Whether an image is worse than its composite.

    ``worse`` is 1 if its fMSE is above the composite's by more than :data:`TOLERANCE`; ``worse_10`` is 1 if it is worse and its
    fMSE is above :data:`TENTH` times the composite's. So where the composite's fMSE is 0, whatever is worse is both.

    Args:
        fmse: of the image; NaN if the mask is empty.
        composite: fMSE of the composite, by the same protocol; NaN if the mask is empty.

    Returns:
        1.0 or 0.0 for each name in :data:`HARM`; NaN for both if the fMSE is undefined.
    """
    if math.isnan(fmse) or math.isnan(composite):
        return dict.fromkeys(HARM, math.nan)
    worse = fmse > composite + TOLERANCE
    return {"worse": float(worse), "worse_10": float(worse and fmse > TENTH * composite)}


def with_harm(rows: Sequence[Row]) -> list[Row]:
    """Rows with :func:`harm` of each of their images behind the scores: ``worse``, ``worse_10``, ``coarse_worse``.

    What a row has already stays. Rows without the composite's ``input_fmse`` stay as they are: nothing is known of them.
    """
    return [
        row._replace(scores=row.scores | _harm_of_all(row.scores) | row.scores) if "input_fmse" in row.scores else row
        for row in rows
    ]


def relative_change(fmse: float, composite: float) -> float:
    """Change of the fMSE over the composite's, in percent; NaN if undefined.

    A composite's fMSE counts as :data:`TOLERANCE` at least, so that images that needed no change have a figure, too.
    """
    return 100 * (fmse - composite) / max(composite, TOLERANCE)


def _harm_of_all(scores: Scores) -> Scores:
    prefixes = [name.removesuffix("fmse") for name in scores if name.endswith("fmse") and name != "input_fmse"]
    found = {prefix: harm(scores[f"{prefix}fmse"], scores["input_fmse"]) for prefix in prefixes}
    return {prefix + name: value for prefix, one in found.items() for name, value in one.items()}
