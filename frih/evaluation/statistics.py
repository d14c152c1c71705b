"""How certain a mean is, and a difference of means: the bootstrap over real photos.

Composites of one photo are alike, so photos are drawn, each with all its composites. They are drawn within each subset, since
the sizes of the subsets are fixed. Some photos are in several subsets by the same name (as in made composites): each is one
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
from frih.evaluation.layout import listed
from frih.evaluation.rows import by_image
from frih.metrics import Row

RESAMPLES = 2000
"""Number of draws, each of as many photos as there are."""
LEVEL = 0.95
"""Coverage of the intervals."""
INTERVALS = (
    f"Intervals in brackets: {LEVEL:.0%}, percentile bootstrap of {RESAMPLES} draws over real photos, within each sub-dataset, "
    "since composites of one photo are alike. They say nothing of another training run."
)
"""The note under tables."""

Group = Callable[[Row], bool]
"""Whether a row belongs to a group."""


class Interval(NamedTuple):
    """A mean over images and its percentile interval; ends are NaN where fewer than two photos have the score."""

    mean: float
    low: float
    high: float
    images: int
    """Images that have the score."""
    photos: int
    """Real photos of these images."""


class Difference(NamedTuple):
    """The mean over images of a score's difference, first less second, and its interval."""

    mean: float
    low: float
    high: float
    images: int
    photos: int
    wins: float
    """Share of the images on which the first is better, 0..1; ties count half."""


def bootstrap(rows: Sequence[Row], score: str, *, members: Group | None = None, resamples: int = RESAMPLES) -> Interval:
    """The mean of a score and its percentile interval (:data:`LEVEL`). The order of the rows does not matter.

    Args:
        rows: all of an evaluation: photos are drawn from all, even if only a group is averaged.
        score: its name, with its prefix, as ``coarse_psnr``.
        members: the images that are averaged; by default all that have the score.
        resamples: number of draws.
    """
    return _interval(rows, [row.scores.get(score, math.nan) for row in rows], members, resamples)


def ratio(rows: Sequence[Row], score: str, below: str, *, members: Group | None = None) -> Interval:
    """The mean of a score over the mean of another, both of the images that have both, and its percentile interval.

    Args:
        rows: all of an evaluation.
        score: the name of the first.
        below: the name of the second, which is never negative. If its mean is 0, there is no ratio (NaN).
        members: as in :func:`bootstrap`.
    """
    upper, lower = ([row.scores.get(name, math.nan) for row in rows] for name in (score, below))
    return _interval(rows, upper, members, RESAMPLES, lower)


def rank_correlation(rows: Sequence[Row], score: str, other: str) -> Interval:
    """Spearman's correlation of two scores over the images that have both, as ``mean``, and its percentile interval.

    It is NaN where one of them has the same value for all images.

    Args:
        rows: all of an evaluation.
        score: the name of the one.
        other: the name of the other.
    """
    strata = _strata(rows)
    pairs = np.array([[row.scores.get(name, math.nan) for name in (score, other)] for row in rows])
    known = ~np.isnan(pairs).any(axis=1)
    numbers = {photo: number for number, photo in enumerate(strata)}
    photos = np.array([numbers[row.real] for row in rows])[known]
    orders = [np.unique(column, return_inverse=True)[1] for column in pairs[known].T]
    found, with_both = _spearman(orders, np.ones(len(photos))), len(np.unique(photos))
    if with_both < 2 or math.isnan(found):
        return Interval(found, math.nan, math.nan, len(photos), with_both)
    drawn = [_spearman(orders, weights[photos]) for weights in _draws(tuple(strata.values()), RESAMPLES)]
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(found, float(low), float(high), len(photos), with_both)


def paired(
    rows: Sequence[Row],
    others: Sequence[Row],
    score: str,
    *,
    higher_is_better: bool,
    members: Group | None = None,
    other_score: str | None = None,
) -> Difference:
    """How two evaluations of the same images differ in a score, image by image.

    Args:
        rows: of the first evaluation.
        others: of the second, in any order.
        score: its name in the first.
        higher_is_better: whether a positive difference is a win of the first.
        members: as in :func:`bootstrap`, by the first's rows.
        other_score: its name in the second; by default the same.

    Raises:
        UserError: naming images that one of them lacks, or whose real photo differs.
    """
    partners = match(rows, others)
    theirs = [partner.scores.get(other_score or score, math.nan) for partner in partners]
    differences = [row.scores.get(score, math.nan) - other for row, other in zip(rows, theirs, strict=True)]
    found = _interval(rows, differences, members, RESAMPLES)
    gains = [
        difference * (1 if higher_is_better else -1)
        for row, difference in zip(rows, differences, strict=True)
        if not math.isnan(difference) and (members is None or members(row))
    ]
    wins = sum((gain > 0) + 0.5 * (gain == 0) for gain in gains)
    return Difference(*found, wins / len(gains) if gains else math.nan)


def match(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """The row of the same image among others, for each row.

    Raises:
        UserError: naming images that one side lacks, or whose real photo differs.
    """
    first, second = by_image(rows), by_image(others)
    for lacking, missing in (("second", first.keys() - second.keys()), ("first", second.keys() - first.keys())):
        if missing:
            names = [f"{key[0]}/{(first.get(key) or second[key]).name}" for key in sorted(missing)]
            raise UserError(f"the {lacking} evaluation lacks {listed(names)}; compare evaluations of one split")
    for key, row in first.items():
        if Path(second[key].real).stem != Path(row.real).stem:
            raise UserError(
                f"{row.subset}/{row.name}: its real photo is {row.real} in the first, {second[key].real} in the second"
            )
    return [second[key] for key in first]


def _interval(
    rows: Sequence[Row],
    values: Sequence[float],
    members: Group | None,
    resamples: int,
    units: Sequence[float] | None = None,
) -> Interval:
    """The sum of values over that of units, by default 1 for each value, and its interval."""
    strata = _strata(rows)
    known: dict[str, list[tuple[float, float]]] = {photo: [] for photo in strata}
    for row, value, unit in zip(rows, values, units or [1.0] * len(rows), strict=True):
        if not math.isnan(value + unit) and (members is None or members(row)):
            known[row.real].append((value, unit))
    images, with_score = sum(map(len, known.values())), sum(map(bool, known.values()))
    both = [pair for part in known.values() for pair in part]
    total, below = (math.fsum(pair[i] for pair in both) for i in (0, 1))
    if below == 0:
        return Interval(math.nan, math.nan, math.nan, images, with_score)
    if with_score < 2:
        return Interval(total / below, math.nan, math.nan, images, with_score)
    # exact sums, whatever the order of the rows
    sums = (np.array([math.fsum(pair[i] for pair in part) for part in known.values()]) for i in (0, 1))
    weights = _draws(tuple(strata.values()), resamples)
    totals, drawn = (weights @ one for one in sums)
    means = totals[drawn > 0] / drawn[drawn > 0]  # a draw may have no image of a small group
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(total / below, float(low), float(high), images, with_score)


def _spearman(orders: Sequence[NDArray[np.intp]], weights: NDArray[np.float64]) -> float:
    """The rank correlation of two scores, given as the place of each image's value among the values, and images' weights."""
    if not weights.any():
        return math.nan
    counts = [np.bincount(order, weights) for order in orders]
    ranks = [(np.cumsum(count) - count / 2)[order] for count, order in zip(counts, orders, strict=True)]
    x, y = (rank - np.average(rank, weights=weights) for rank in ranks)
    scale = math.sqrt((weights @ x**2) * (weights @ y**2))
    return float(weights @ (x * y) / scale) if scale else math.nan


def _strata(rows: Sequence[Row]) -> dict[str, str]:
    """The subsets of each real photo, photos sorted by name."""
    subsets: dict[str, set[str]] = {photo: set() for photo in sorted({row.real for row in rows})}
    for row in rows:
        subsets[row.real].add(row.subset)
    return {photo: " ".join(sorted(names)) for photo, names in subsets.items()}


@lru_cache(maxsize=4)
def _draws(strata: tuple[str, ...], resamples: int) -> NDArray[np.float64]:
    """How often each photo is drawn in each resample, (resamples, photos); ``strata`` are the subsets of each photo."""
    rng = np.random.default_rng(0)
    groups = [np.flatnonzero(np.array(strata) == subset) for subset in sorted(set(strata))]
    weights = np.empty((resamples, len(strata)))
    for resample in weights:
        for group in groups:
            drawn = rng.integers(0, len(group), size=len(group))
            resample[group] = np.bincount(drawn, minlength=len(group))
    return weights
