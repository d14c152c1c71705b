"""Tables and a plot of what :mod:`~frih.tools.experiments.strengths` and :mod:`~frih.tools.experiments.limits` measure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frih.common.cells import write_csv
from frih.common.files import whole_file
from frih.evaluation.layout import Table, figure
from frih.evaluation.statistics import INTERVALS, Interval
from frih.evaluation.tables import WORSE, with_interval
from frih.tools.experiments.limits import HARDLY, LEAST_IMAGES, LEAST_PHOTOS, Part, is_limit
from frih.tools.experiments.strengths import Point

BLUE, ORANGE, GREY = "#4477aa", "#cc6633", "#808488"
LIMIT = (
    f"A limit: of {LEAST_IMAGES} composites and {LEAST_PHOTOS} photos at least, the share of more than 10% worse lies above "
    f"that of all with its whole interval, and the fMSE stays above {HARDLY:g} of the composites'."
)
"""The note under the table of kinds."""


def curve_table(points: Sequence[Point]) -> Table:
    """A line for each strength."""
    lines = [
        [
            f"{point.strength:g}",
            with_interval("fmse", point.fmse),
            with_interval("", point.ratio),
            with_interval("worse", point.worse),
            with_interval("worse_10", point.worse_10),
            with_interval("", point.change),
        ]
        for point in points
    ]
    columns = ["fMSE", "of the composites'", "worse", ">10% worse", "change of real images"]
    title = "Share of the network's change that is made (strength)"
    change = "Change of real images: given as composites, which need none; mean inside the mask, in levels of 0..255."
    return Table("strength", columns, [], lines, (), title, notes=(WORSE, change, INTERVALS))


def parts_table(found: Sequence[Part], strength: float) -> Table:
    """A line for each kind and category, all composites first."""
    overall = found[0]
    lines = [
        [
            part.kind,
            str(part.worse_10.images),
            str(part.worse_10.photos),
            figure("fmse", part.before),
            figure("fmse", part.after),
            with_interval("worse_10", part.worse_10),
            "yes" if is_limit(part, overall) else "",
        ]
        for part in found
    ]
    columns = ["images", "photos", "fMSE before", "fMSE after", ">10% worse", "limit"]
    return Table(
        "kind", columns, [], lines, (), f"Kinds of composites, at strength {strength:g}", notes=(LIMIT, INTERVALS)
    )


def write_curve(path: Path, points: Sequence[Point]) -> None:
    """The curve as a CSV file."""
    names = [name for name in Point._fields if name != "strength"]
    heads = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    lines = [[point.strength, *(value for name in names for value in getattr(point, name)[:3])] for point in points]
    write_csv(path, [["strength", *heads], *lines])


def write_parts(path: Path, found: Sequence[Part]) -> None:
    """The kinds as a CSV file."""
    heads = [
        "kind",
        "text",
        "images",
        "photos",
        "input_fmse",
        "fmse",
        "worse_10",
        "worse_10_low",
        "worse_10_high",
        "limit",
    ]
    lines = [
        [one.kind, one.text, one.worse_10.images, one.worse_10.photos, one.before, one.after, *one.worse_10[:3]]
        for one in found
    ]
    limits = [int(is_limit(one, found[0])) for one in found]
    write_csv(path, [heads, *([*line, limit] for line, limit in zip(lines, limits, strict=True))])


def draw_curve(path: Path, points: Sequence[Point], strength: float) -> None:
    """The ratio of fMSE, and the shares of composites made worse, against the strength, with intervals; PNG."""
    settings: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    with rc_context(settings):
        drawing = Figure(figsize=(7.6, 3.0), layout="constrained")
        left, right = drawing.subplots(1, 2)
        _line(left, points, [point.ratio for point in points], BLUE, "fMSE over the composites'")
        left.axhline(1, color=GREY, linewidth=0.8)
        _line(right, points, [point.worse for point in points], ORANGE, "worse")
        _line(right, points, [point.worse_10 for point in points], BLUE, "worse by more than a tenth")
        right.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        for axes, label in ((left, "fMSE over the composites'"), (right, "composites made worse")):
            axes.axvline(strength, color=GREY, linewidth=0.8, linestyle=":")
            axes.set(xlabel="strength", ylabel=label, xlim=(0, 1.005), ylim=(0, None))
            axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        right.legend(loc="upper left")
        with whole_file(path) as file:
            drawing.savefig(file, format="png", dpi=120, metadata={"Software": None})


def _line(axes: Axes, points: Sequence[Point], values: Sequence[Interval], color: str, label: str) -> None:
    strengths = [point.strength for point in points]
    axes.fill_between(
        strengths, [one.low for one in values], [one.high for one in values], color=color, alpha=0.2, linewidth=0
    )
    axes.plot(strengths, [one.mean for one in values], "o-", color=color, markersize=3, linewidth=1.2, label=label)
