"""Tables, a plot and images of what :mod:`~frih.tools.experiments.gains` measures."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from frih.common.cells import write_csv
from frih.common.drawing import image_sheet
from frih.common.files import whole_file
from frih.common.wording import printable
from frih.evaluation.layout import Table, figure, heading
from frih.evaluation.statistics import Difference, Interval
from frih.evaluation.tables import with_interval
from frih.metrics import Row
from frih.tools.experiments.ablation_images import images_of
from frih.tools.experiments.gains import KINDS, SCORES, Gains, Parts, category_of, known

COUNT = 10
"""Images on a sheet."""
DRAWN = ("colours", "largest")
"""Quantities with a plot."""
BLUE, GREY = "#4477aa", "#808488"


def gain_tables(rows: Sequence[Row], found: Parts, measured: Gains, names: tuple[str, str]) -> list[Table]:
    """A table for each kind of groups, with a line for each group.

    Args:
        rows: of :func:`~frih.tools.experiments.gains.join`.
        found: the groups.
        measured: their gains.
        names: of the two networks.
    """
    means = [f"{heading('fmse')} of {name}" for name in names]
    columns = ["images", "photos", *means, *(title for score in SCORES for title in (f"Δ {heading(score)}", "won"))]
    tables = []
    for kind, of_kind in found.items():
        lines = [
            [name, *_cells(list(filter(belongs, rows)), measured[kind][name])] for name, belongs in of_kind.items()
        ]
        title = f"{names[0]} less {names[1]}, by {KINDS[kind][0].lower()}{KINDS[kind][1:]}"
        tables.append(Table("", columns, [], lines, (), title))
    return tables


def correlation_table(found: Mapping[str, Mapping[str, Interval]]) -> Table:
    """A line for each quantity."""
    lines = [
        [KINDS[name], *(with_interval("", of_scores[score], signed=True) for score in SCORES)]
        for name, of_scores in found.items()
    ]
    columns = [f"with Δ {heading(score)}" for score in SCORES]
    return Table("", columns, [], lines, (), "Spearman's rank correlation of the gain with each quantity")


def write_gains(path: Path, rows: Sequence[Row], categories: Mapping[str, str]) -> None:
    """The images as a CSV file, the first network's best gain in fMSE first."""
    names = [*known(rows), *(f"{which}{score}" for score in SCORES for which in ("first_", "second_", ""))]
    heads = ["subset", "name", "real", "category", *(f"gain_{name}" if name in SCORES else name for name in names)]
    lines = [
        [row.subset, row.name, row.real, category_of(row, categories), *(row.scores[name] for name in names)]
        for row in _ordered(rows)
    ]
    write_csv(path, [heads, *lines])


def write_sheets(rows: Sequence[Row], first: Path, second: Path, names: tuple[str, str], out: Path) -> list[Path]:
    """Writes ``best.jpg`` and ``worst.jpg``: the images on which the first network gains most and least fMSE, one of a photo.

    Args:
        rows: of :func:`~frih.tools.experiments.gains.join`.
        first: an evaluation of the first network.
        second: an evaluation of the second.
        names: of the two networks.
        out: the folder.

    Returns:
        The files; none if an evaluation kept no images.
    """
    order = _ordered(rows)
    chosen = {name: _of_each_photo(part)[:COUNT] for name, part in (("best", order), ("worst", order[::-1]))}
    lines = {name: [images_of([second, first], row) for row in part] for name, part in chosen.items()}
    if not all(all(part) for part in lines.values()):
        return []
    written = []
    for name, part in chosen.items():
        headings = ["composite", "submasks", *map(printable, reversed(names)), "real"]
        sheet = image_sheet(lines[name], headings, [_caption(row, names) for row in part])
        written.append(out / f"{name}.jpg")
        with whole_file(written[-1]) as file:
            Image.fromarray(sheet).save(file, "JPEG", quality=90)
    return written


def draw_gains(path: Path, measured: Gains, names: tuple[str, str]) -> bool:
    """Draws mean gains with intervals against :data:`DRAWN` as PNG; returns whether one of these quantities is known."""
    kinds = [kind for kind in DRAWN if kind in measured]
    if not kinds:
        return False
    settings: Any = {
        "font.size": 9,
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
    }
    with rc_context(settings):
        drawing = Figure(figsize=(3.8 * len(kinds), 2.8 * len(SCORES)), layout="constrained")
        axes = drawing.subplots(len(SCORES), len(kinds), squeeze=False, sharey="row")
        for line, score in zip(axes, SCORES, strict=True):
            for place, kind in zip(line, kinds, strict=True):
                _draw(place, KINDS[kind], {group: cell[score] for group, cell in measured[kind].items()})
            better = "below" if heading(score).endswith("↓") else "above"
            line[0].set_ylabel(f"Δ {heading(score).rstrip('↓↑')}, better {better} 0")
        drawing.suptitle(f"{printable(names[0])} less {printable(names[1])}; below each group: its images", fontsize=9)
        with whole_file(path) as file:
            drawing.savefig(file, format="png", dpi=120, metadata={"Software": None})
    return True


def _cells(rows: Sequence[Row], found: Mapping[str, Difference]) -> list[str]:
    """A group's cells: images, photos, both networks' fMSE, and for each score the gain and the share of images won."""
    sizes = found["fmse"].images, found["fmse"].photos
    means = [statistics.fmean(row.scores[f"{side}_fmse"] for row in rows) for side in ("first", "second")]
    both = [(with_interval(score, one, signed=True), f"{100 * one.wins:.0f}%") for score, one in found.items()]
    return [*map(str, sizes), *(figure("fmse", mean) for mean in means), *(cell for pair in both for cell in pair)]


def _draw(axes: Axes, title: str, found: Mapping[str, Difference]) -> None:
    places, means = range(len(found)), np.array([one.mean for one in found.values()])
    ends = np.array([[one.mean - one.low, one.high - one.mean] for one in found.values()]).T
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.errorbar(places, means, np.maximum(ends, 0), fmt="o", color=BLUE, markersize=4, capsize=3, linewidth=1.2)
    axes.set_xticks(places, [f"{group}\n{one.images}" for group, one in found.items()])
    axes.set(xlabel=title, xlim=(-0.5, len(found) - 0.5))
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)


def _ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.scores["fmse"])


def _of_each_photo(rows: Sequence[Row]) -> list[Row]:
    """The first row of each photo."""
    photos: dict[str, Row] = {}
    for row in rows:
        photos.setdefault(row.real, row)
    return list(photos.values())


def _caption(row: Row, names: tuple[str, str]) -> str:
    both = (f"{name} {row.scores[f'{side}_fmse']:.0f}" for name, side in zip(names, ("first", "second"), strict=True))
    parts = [f"{row.subset}/{row.name}", f"fMSE: {', '.join(reversed([*both]))}"]
    if "colours" in row.scores:
        largest, colours = row.scores["largest"], row.scores["colours"]
        parts.append(f"submasks: {row.submasks}, largest {largest:.0%}; colours: {colours}")
    return printable("    ".join(parts))
