"""How sure a mean is, and a difference of means: the bootstrap over real photos.

Several composites share a photo and are alike, so it is photos that are drawn, with all their composites; and within each
subset, whose sizes are given and no matter of chance. A photo of one name in several subsets (made composites are so) is one
photo, drawn among those of the same subsets.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.common.errors import UserError
from frih.evaluation.rows import by_image
from frih.metrics import Row

RESAMPLES = 2000
"""Draws of as many photos as there are."""
LEVEL = 0.95
"""Of the intervals."""
INTERVALS = (
    f"Intervals in brackets: {LEVEL:.0%}, percentile bootstrap of {RESAMPLES} draws over real photos, within each sub-dataset, "
    "since composites of one photo are alike. They say nothing of another training run."
)
"""What stands under tables."""


class Interval(NamedTuple):
    """A mean over images and its percentile interval; ends are NaN where fewer than two photos have the score."""

    mean: float
    low: float
    high: float
    images: int
    """Images that have the score."""
    photos: int
    """Real photos that they come from."""


class Difference(NamedTuple):
    """The mean over images of a score's difference, first less second, and its interval."""

    mean: float
    low: float
    high: float
    images: int
    photos: int
    wins: float
    """Share of the images on which the first is the better one, 0..1; ties count half."""


def bootstrap(
    rows: Sequence[Row],
    score: str,
    *,
    members: Callable[[Row], bool] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The mean of a score and its percentile interval (:data:`LEVEL`). The same for the same rows in any order.

    Args:
        rows: of an evaluation, all of them: photos are drawn from all, whichever part is looked at.
        score: its name, with its prefix, as ``coarse_psnr``.
        members: which images are averaged; all that have the score by default.
        resamples: more of them make the interval's ends steadier.
        seed: of the draws.
    """
    return _interval(rows, [row.scores.get(score, math.nan) for row in rows], members, resamples, seed)


def paired(
    rows: Sequence[Row],
    others: Sequence[Row],
    score: str,
    *,
    higher_is_better: bool,
    members: Callable[[Row], bool] | None = None,
    other_score: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """How two evaluations of the same images differ in a score, image by image.

    Args:
        rows: of the first.
        others: of the second, in any order.
        score: its name in the first.
        higher_is_better: which sign of a difference is a win of the first.
        members: as in :func:`bootstrap`, of the first's rows.
        other_score: its name in the second; the same by default.
        resamples: as in :func:`bootstrap`.
        seed: as in :func:`bootstrap`.

    Raises:
        UserError: naming images that one of them lacks, or whose real photo is another.
    """
    partners = match(rows, others)
    theirs = [partner.scores.get(other_score or score, math.nan) for partner in partners]
    differences = [row.scores.get(score, math.nan) - other for row, other in zip(rows, theirs, strict=True)]
    found = _interval(rows, differences, members, resamples, seed)
    counted = [
        difference * (1 if higher_is_better else -1)
        for row, difference in zip(rows, differences, strict=True)
        if not math.isnan(difference) and (members is None or members(row))
    ]
    wins = sum((value > 0) + 0.5 * (value == 0) for value in counted)
    return Difference(*found, wins / len(counted) if counted else math.nan)


def match(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The row of the same image among others, for each row.

    Raises:
        UserError: naming images that one side lacks, or whose real photo is another.
    """
    first, second = by_image(rows), by_image(others)
    for lacking, missing in (("second", first.keys() - second.keys()), ("first", second.keys() - first.keys())):
        if missing:
            names = [f"{key[0]}/{(first.get(key) or second[key]).name}" for key in sorted(missing)]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"the {lacking} evaluation lacks {', '.join(names[:3])}{more}; compare evaluations of one split"
            )
    for key, row in first.items():
        if Path(second[key].real).stem != Path(row.real).stem:
            raise UserError(
                f"{row.subset}/{row.name}: its real photo is {row.real} in the first, {second[key].real} in the second"
            )
    return [second[key] for key in first]


def _interval(
    rows: Sequence[Row],
    values: Sequence[float],
    members: Callable[[Row], bool] | None,
    resamples: int,
    seed: int,
) -> Interval:
    subsets: dict[str, set[str]] = {photo: set() for photo in sorted({row.real for row in rows})}
    for row in rows:
        subsets[row.real].add(row.subset)
    place = {photo: index for index, photo in enumerate(subsets)}
    sums, counts = [[0.0] for _ in subsets], np.zeros(len(subsets))
    for row, value in zip(rows, values, strict=True):
        if not math.isnan(value) and (members is None or members(row)):
            sums[place[row.real]].append(value)
            counts[place[row.real]] += 1
    totals = np.array([math.fsum(part) for part in sums])  # exact, so that the order of the rows does not matter
    images, with_score = int(counts.sum()), int(np.count_nonzero(counts))
    if images == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0)
    mean = math.fsum(value for part in sums for value in part) / images
    if with_score < 2:
        return Interval(mean, math.nan, math.nan, images, with_score)
    weights = _draws(tuple(" ".join(sorted(names)) for names in subsets.values()), resamples, seed)
    drawn = weights @ counts
    means = (weights @ totals)[drawn > 0] / drawn[drawn > 0]  # a draw may hold none of a small part
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high), images, with_score)


@lru_cache(maxsize=4)
def _draws(strata: tuple[str, ...], resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each photo is drawn in each resample: (resamples, photos).

    Args:
        strata: the subsets of each photo, in order.
        resamples: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(np.array(strata) == subset) for subset in sorted(set(strata))]
    weights = np.empty((resamples, len(strata)))
    for resample in weights:
        for group in groups:
            drawn = rng.integers(0, len(group), size=len(group))
            resample[group] = np.bincount(drawn, minlength=len(group))
    return weights
