"""Where one network gains on another: by groups of images, and with which quantities the gain rises or falls.

The gain is the first network's score less the second's, image by image. So where the first is better, its gain in fMSE is below
zero, and its gain in PSNR above. Images without foreground are left out.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frih.common.errors import UserError
from frih.common.progress import progress_bar
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Sample
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Item, match_files
from frih.data.images import HALF
from frih.evaluation.statistics import Difference, Group, Interval, match, paired, rank_correlation
from frih.evaluation.tables import RATIOS, groups
from frih.metrics import METRICS, Row
from frih.tools.composites.objects import read_photo_categories
from frih.tools.composites.regions import divide
from frih.tools.experiments.ablation_tables import mean_over_seeds
from frih.tools.experiments.limits import category
from frih.tools.report.comparison import Evaluation, read_evaluation, short_names, what_differs

SCORES = ("fmse", "psnr")
"""Scores with a gain. A row of gains has for each, as ``fmse``, also ``first_fmse`` and ``second_fmse``."""
COLOURS = 8
"""The most colours that are looked for in a foreground."""
FEW = 10
"""Categories of fewer images go together."""
OTHERS = "others"
_DATA = re.compile(r"\d+ composites of (.*) \([^()]*\), listed by ")
"""The root in what :meth:`~frih.data.iharmony4.Listing.describe` writes."""


class Quantity(NamedTuple):
    """A number that an image has."""

    title: str
    ranges: Mapping[str, tuple[float, float]]
    """From the first bound on, below the second. Without ranges, the images are divided into quarters."""


def _counts(most: int, end: str = "") -> dict[str, tuple[float, float]]:
    return {str(k): (k, k + 1) for k in range(1, most)} | {f"{most}{end}": (most, math.inf)}


QUANTITIES: Mapping[str, Quantity] = {
    "foreground": Quantity("Foreground's share of the image", {f"{name}%": bounds for name, bounds in RATIOS.items()}),
    "submasks": Quantity("Submasks", _counts(10, " or more")),
    "largest": Quantity(
        "Largest submask's share of the foreground",
        {"0-60%": (0, 0.6), "60-80%": (0.6, 0.8), "80-95%": (0.8, 0.95), "95-100%": (0.95, math.inf)},
    ),
    "colours": Quantity("Colours of the foreground", _counts(COLOURS)),
    "distance": Quantity("Composite's fMSE", {}),
}
"""By the name of the score that a row of gains has."""
KINDS = {
    "subset": "Sub-dataset",
    **{name: quantity.title for name, quantity in QUANTITIES.items()},
    "category": "Category",
}
"""Titles of the kinds of groups."""

Parts = dict[str, dict[str, Group]]
"""The groups of images, by kind and name."""
Gains = dict[str, dict[str, dict[str, Difference]]]
"""By kind, by group, by score."""


class Look(NamedTuple):
    """What composite and real image tell of a foreground, at the size of the evaluation."""

    submasks: int
    """Number of submasks that the paper's rule makes of the composite: those of ``submasks`` with its defaults."""
    largest: float
    """Share of the foreground in the largest of them, 0..1."""
    colours: int
    """Number of regions that :func:`~frih.tools.composites.regions.divide` finds in the real image, at most :data:`COLOURS`: as
    many as lie 10 apart in CIELAB and cover 4 % of the foreground each."""


class Sides(NamedTuple):
    """Two networks on the same images; scores are means over the evaluations of each."""

    names: tuple[str, str]
    first: list[Row]
    second: list[Row]
    protocol: str
    size: int
    """Side of the evaluated images; 256 if each had its own."""
    root: Path | None
    """Data set that the evaluations name."""
    early: list[str]
    """Which evaluations are of a run that was not finished."""


def read_sides(first: Sequence[Path], second: Sequence[Path]) -> Sides:
    """Reads the evaluations of two networks: folders that ``evaluate.py`` wrote, as of several seeds.

    Raises:
        UserError: one is given twice, is no evaluation, or was not made like the others: of the same images, at one size, by
            one protocol.
    """
    named = {name: read_evaluation(folder) for name, folder in short_names([*first, *second]).items()}
    if remarks := what_differs(named):
        raise UserError("\n".join([*remarks, "give evaluations of the same images, at one size, by one protocol"]))
    found = list(named.values())
    sides = [mean_over_seeds([one.rows for one in part]) for part in (found[: len(first)], found[len(first) :])]
    size = found[0].size
    return Sides(
        _names(first, second),
        sides[0],
        match(*sides),
        found[0].protocol,
        int(size) if size.isdecimal() else DataConfig().size,
        _root(found),
        [f"{name} is of {one.progress} of its run" for name, one in named.items() if one.progress],
    )


def look_at_images(rows: Sequence[Row], root: Path, size: int) -> list[Look | None]:
    """Looks at each row's composite and real image; None where there is no foreground.

    Args:
        rows: of an evaluation.
        root: the data set that was evaluated.
        size: in pixels, to which images are resized.

    Raises:
        UserError: the root is no folder or lacks images, which the message names, or one cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"--data: {root} is no folder; give the data set that was evaluated")
    items: dict[tuple[str, str], Item] = {}
    for subset in dict.fromkeys(row.subset for row in rows):
        names = [row.name for row in rows if row.subset == subset]
        found, faults = match_files(root, subset, names)
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise UserError(
                f"--data: {root / subset}: {faults[0]}{more}; give the data set that was evaluated, with all its files"
            )
        items |= {(subset, name): item for name, item in zip(names, found, strict=True)}
    images = CompositeDataset([items[row.subset, row.name] for row in rows], DataConfig(size=size), SubmaskConfig())
    colours: dict[bytes, int] = {}  # the composites of a photo have one real image
    bar = progress_bar(range(len(images)), desc="looking", unit="image", leave=False)
    return [_look(images[index], colours) for index in bar]


def join(first: Sequence[Row], second: Sequence[Row], looks: Sequence[Look | None] = ()) -> list[Row]:
    """Rows of gains, for images with a foreground.

    Args:
        first: rows of the first network.
        second: rows of the second, in the same order.
        looks: at the images, in the same order; or none.

    Returns:
        Rows whose scores are the gains, by the names of :data:`SCORES`, both networks' scores, as ``first_fmse`` and
        ``second_fmse``, and as many of :data:`QUANTITIES` as are known. Without looks, ``submasks`` are those of the evaluation
        that has more than one, if one has.

    Raises:
        UserError: no image has a foreground.
    """
    counted = next((rows for rows in (first, second) if any(row.submasks > 1 for row in rows)), None)
    joined = []
    for i, (mine, theirs) in enumerate(zip(first, second, strict=True)):
        look = looks[i] if looks else None
        if mine.fg_ratio == 0 or math.isnan(mine.scores["fmse"]) or (looks and look is None):
            continue
        scores = {"foreground": mine.fg_ratio}
        if look:
            scores |= look._asdict()
        elif counted:
            scores["submasks"] = counted[i].submasks
        distance = mine.scores.get("input_fmse", theirs.scores.get("input_fmse", math.nan))
        scores |= {} if math.isnan(distance) else {"distance": distance}
        for score in SCORES:
            both = mine.scores[score], theirs.scores[score]
            scores |= {score: both[0] - both[1], f"first_{score}": both[0], f"second_{score}": both[1]}
        joined.append(mine._replace(submasks=int(scores.get("submasks", mine.submasks)), scores=scores))
    if not joined:
        raise UserError("the evaluations have no image with a foreground, so there is no gain to divide")
    return joined


def read_categories(path: Path, rows: Sequence[Row]) -> dict[str, str]:
    """The category of each photo or mask by its name without suffix, from a CSV file.

    Raises:
        UserError: the file is missing, cannot be read, lacks the columns name and category, or names none of the images.
    """
    found = read_photo_categories(path)
    if found is None:
        raise UserError(f"--categories: {path}: no such file; give a CSV file with the columns name and category")
    if not any(category_of(row, found) for row in rows):
        photo = Path(rows[0].real).stem
        raise UserError(f"--categories: {path}: names none of the real images; write them without suffix, as {photo}")
    return found


def category_of(row: Row, categories: Mapping[str, str]) -> str:
    """The category of an image's mask or photo; empty if it has none."""
    return category(row, categories) or categories.get(Path(row.real).stem, "")


def parts(rows: Sequence[Row], categories: Mapping[str, str]) -> Parts:
    """The groups of images that have a line, by kind: sub-datasets and all, ranges of each quantity, categories.

    Args:
        rows: of :func:`join`.
        categories: by the name of the mask or photo; may be empty. Those of less than :data:`FEW` images go together with the
            images that have none.
    """
    found: Parts = {"subset": groups(rows)["subsets"]}
    for name in known(rows):
        ranges = QUANTITIES[name].ranges or _quarters([row.scores[name] for row in rows])
        within = {label: _between(name, *bounds) for label, bounds in ranges.items()}
        found[name] = {label: group for label, group in within.items() if any(map(group, rows))}
    if categories:
        count = Counter(category_of(row, categories) for row in rows)
        large = [name for name, images in count.most_common() if name not in ("", OTHERS) and images >= FEW]
        found["category"] = {name: _of_category(name, categories) for name in large}
        if len(rows) > sum(count[name] for name in large):
            found["category"][OTHERS] = lambda row: category_of(row, categories) not in large
    return found


def gains(rows: Sequence[Row], found: Parts) -> Gains:
    """The mean gain of each group, with its interval, and the share of images on which the first network is better.

    Args:
        rows: of :func:`join`.
        found: of :func:`parts`.
    """
    return {
        kind: {name: {score: _gain(rows, score, group) for score in SCORES} for name, group in of_kind.items()}
        for kind, of_kind in found.items()
    }


def correlations(rows: Sequence[Row]) -> dict[str, dict[str, Interval]]:
    """The rank correlation of each quantity with the gain in each score."""
    return {name: {score: rank_correlation(rows, name, score) for score in SCORES} for name in known(rows)}


def known(rows: Sequence[Row]) -> list[str]:
    """The quantities that all rows have."""
    return [name for name in QUANTITIES if all(name in row.scores for row in rows)]


def _gain(rows: Sequence[Row], score: str, group: Group) -> Difference:
    better = METRICS[score].better == "higher"
    first, second = f"first_{score}", f"second_{score}"
    return paired(rows, rows, first, higher_is_better=better, members=group, other_score=second)


def _between(name: str, low: float, high: float) -> Group:
    return lambda row: low <= row.scores[name] < high


def _of_category(name: str, categories: Mapping[str, str]) -> Group:
    return lambda row: category_of(row, categories) == name


def _quarters(values: Sequence[float]) -> dict[str, tuple[float, float]]:
    bounds = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
    labels = [f"quarter {i + 1}: {bounds[i]:.0f} to {bounds[i + 1]:.0f}" for i in range(4)]
    return dict(zip(labels, zip(bounds[:4], [*bounds[1:4], math.inf], strict=True), strict=True))


def _look(sample: Sample, colours: dict[bytes, int]) -> Look | None:
    """Looks at an image; ``colours`` keeps the number of those of each real image and mask."""
    inside = sample.soft_mask >= HALF
    if not inside.any():
        return None
    key = hashlib.sha256(sample.real.tobytes() + inside.tobytes()).digest()
    if key not in colours:
        colours[key] = int(divide(sample.real / 255, inside, COLOURS).max()) + 1
    sizes = np.bincount(sample.labels[inside])
    return Look(int(sample.labels.max()), float(sizes.max() / sizes.sum()), colours[key])


def _root(evaluations: Sequence[Evaluation]) -> Path | None:
    named = (_DATA.match(one.data) for one in evaluations)
    return next((Path(one[1]) for one in named if one), None)


def _names(first: Sequence[Path], second: Sequence[Path]) -> tuple[str, str]:
    """For each side the last part of the path that all its folders have and none of the other side has."""
    sides = [[folder.resolve().parts for folder in side] for side in (first, second)]
    own = [
        [part for part in mine[0] if all(part in one for one in mine) and not any(part in one for one in theirs)]
        for mine, theirs in (sides, sides[::-1])
    ]
    return own[0][-1] if own[0] else "first", own[1][-1] if own[1] else "second"
