"""The HTML page: tables, plots, images and a line for each image, in one file that needs no other."""

import math
import os
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import frih
from frih.evaluation.layout import Table, figure, heading
from frih.evaluation.statistics import INTERVALS, bootstrap
from frih.evaluation.tables import BEST, RATIOS, methods
from frih.metrics import Row, with_harm
from frih.metrics.harm import TOLERANCE, relative_change
from frih.tools.report.embedding import Album, size_of
from frih.tools.report.plots import Figures, Plot, draw_plots
from frih.tools.report.thumbnails import SCALE, Thumbnails, ending, error_colors

EXTREMES, EVERY = 3, 8
"""Number of best, worst and median images, and of images at equal distances through the list."""
FINAL = ("refined", "prediction", "composite")
"""Stages that may be an evaluation's final image; the first that is stored is."""
ON_PAPER = 112
"""Characters of a table's line that fit on a page of A4; wider tables are printed in parts."""
CHANGE = "fMSE change"
"""Heading of the column by which the images that were made worse are found."""


class System(NamedTuple):
    """What is shown as one method: the images of an evaluation and their scores."""

    name: str
    rows: Sequence[Row]
    """In the same order for every system of a page."""
    prefix: str
    """Prefix of its scores."""
    folder: Path
    """Folder of the evaluation."""

    def scores(self, score: str) -> list[float]:
        """One for each image."""
        return [row.scores[self.prefix + score] for row in self.rows]

    def inputs(self, score: str) -> list[float]:
        """Those of the composites; empty if the rows have none."""
        return [row.scores["input_" + score] for row in self.rows if "input_psnr" in row.scores]


class Slot(NamedTuple):
    """One of the images that are shown of each composite."""

    label: str
    folder: Path
    """Folder of the evaluation."""
    rows: Sequence[Row]
    """Rows of the evaluation, whose names are those of the files."""
    kind: str
    """As :class:`~frih.tools.report.thumbnails.Thumbnails` calls it."""
    error: bool = False
    """Whether it is a map of errors: of the image of the same label."""

    def path(self, place: int) -> Path:
        """The file of the image of a row."""
        row = self.rows[place]
        return Thumbnails(self.folder).path(row.subset, row.name, self.kind)


class Choice(NamedTuple):
    """Some images and why they are shown."""

    title: str
    reason: str
    places: Sequence[int]
    """In the rows."""


def evaluation_page(
    folder: Path,
    rows: Sequence[Row],
    about: Mapping[str, Any],
    shown: Sequence[Table],
    names: Mapping[str, str],
    lead: str,
) -> str:
    """The page of one evaluation, with the images stored in its folder."""
    systems = [
        System(name, rows, prefix, folder)
        for prefix, name in names.items()
        if prefix != "input_" and rows and f"{prefix}psnr" in rows[0].scores
    ]
    title = f"Evaluation: {names.get('', methods()[''])}"
    return _page(folder, systems, title, lead, shown, about, differences=False)


def comparison_page(
    out: Path,
    systems: Mapping[str, tuple[Path, Sequence[Row]]],
    shown: Sequence[Table],
    lead: str,
    about: Mapping[str, str],
) -> str:
    """The page of several evaluations of the same images, in the same order, by name."""
    listed = [System(name, rows, "", folder) for name, (folder, rows) in systems.items()]
    return _page(out, listed, " · ".join(systems), lead, shown, about, differences=True)


def _page(
    out: Path,
    systems: Sequence[System],
    title: str,
    lead: str,
    shown: Sequence[Table],
    about: Mapping[str, Any],
    *,
    differences: bool,
) -> str:
    rows = systems[0].rows if systems else []
    slots = _slots(systems)
    values, by_what = _ranking(systems, differences=differences)
    stored = [place for place in range(len(rows)) if slots and slots[0].path(place).is_file()]
    choices = _choices(values, by_what, stored)
    featured = {place for choice in choices for place in choice.places}
    images = _embed(len(rows), slots, featured)
    sizes = [size_of(slots[0].path(place)) if content else [] for place, content in enumerate(images)]
    folders = [quote(Path(os.path.relpath(slot.folder / "images", out)).as_posix()) for slot in slots]
    headings, lines = _lines(systems, differences=differences)

    def link(slot: int, place: int) -> str:
        path = slots[slot].path(place).relative_to(slots[slot].folder / "images")
        return f"{folders[slot]}/{quote(path.as_posix())}"

    page: str = _template().render(
        title=title,
        version=frih.__version__,
        lead=lead.splitlines(),
        about=about,
        headline=[] if differences or not systems else _headline(systems[-1]),
        tables=shown,
        bold=BEST if any(one.best() for one in shown) else "",
        intervals_note=INTERVALS,
        on_paper=ON_PAPER,
        plots=[(plot, Markup(plot.svg)) for plot in _plots(systems)],
        choices=choices,
        slots=slots,
        link=link,
        rows=rows,
        captions={place: _caption(systems, place, differences=differences) for place in featured},
        images=images,
        sizes=sizes,
        store={
            "slots": [
                {
                    "label": slot.label,
                    "folder": folder,
                    "names": [] if slot.rows is rows else [row.name for row in slot.rows],
                    "ending": ending(slot.kind),
                    "error": slot.error,
                }
                for slot, folder in zip(slots, folders, strict=True)
            ],
            "images": [[] if place in featured else content for place, content in enumerate(images)],
            "sizes": sizes,
        },
        headings=headings,
        lines=lines,
        change=CHANGE if any(label.startswith(CHANGE) for label in headings) else "",
        tolerance=TOLERANCE,
        ratios=RATIOS,
        scale=SCALE,
        stops=["#{:02x}{:02x}{:02x}".format(*error_colors()[place]) for place in range(0, 256, 15)],
    )
    return page


def _slots(systems: Sequence[System]) -> list[Slot]:
    """What is shown of each image, found from the first image that has stored stages; empty if none has."""
    for rows in zip(*(system.rows for system in systems), strict=True):
        stored = [
            Thumbnails(system.folder).stages(row.subset, row.name) for system, row in zip(systems, rows, strict=True)
        ]
        if not all(stored):
            continue
        first = systems[0].folder, systems[0].rows
        slots = [Slot(stage, *first, stage) for stage in ("composite", "mask", "submasks") if stage in stored[0]]
        results = []
        for system, stages in zip(systems, stored, strict=True):
            stage = next((stage for stage in (("coarse",) if system.prefix else FINAL) if stage in stages), "composite")
            if stage != "composite":
                results.append(Slot(system.name, system.folder, system.rows, stage))
        real = [Slot("real", *first, "real")] if "real" in stored[0] else []
        compared = [*slots[:1], *results] if real else []
        errors = [slot._replace(kind=f"{slot.kind}-error", error=True) for slot in compared]
        return [*slots, *results, *real, *errors]
    return []


def _embed(total: int, slots: Sequence[Slot], featured: Set[int]) -> list[list[str] | None]:
    """The contents of each row's images: "" where the page must link to the file; None for a row without images.

    Featured images come first and as they are stored. Then come the others, as many as there is room for, made smaller if not
    all fit.
    """
    album = Album()
    images: list[list[str] | None] = [None] * total
    stored = {place: [slot.path(place) for slot in slots] for place in range(total) if slots}
    stored = {place: paths for place, paths in stored.items() if all(path.is_file() for path in paths)}
    others = {place: stored.pop(place) for place in list(stored) if place not in featured}
    for place, paths in stored.items():
        images[place] = [album.take(path) for path in paths]
    smaller = not album.fits(path for paths in others.values() for path in paths)
    for place, paths in others.items():
        images[place] = [album.take(path, smaller=smaller) for path in paths]
    return images


def _ranking(systems: Sequence[System], *, differences: bool) -> tuple[list[float], str]:
    """A figure for each row, by which best and worst are chosen, and its name."""
    if not systems:
        return [], ""
    first, final = (systems[0], systems[1]) if differences else (None, systems[-1])
    before = first.scores("psnr") if first else final.inputs("psnr")
    if not before:
        return final.scores("psnr"), f"PSNR of {final.name}"
    values = [a - b for a, b in zip(final.scores("psnr"), before, strict=True)]
    if first:
        return values, f"PSNR of {final.name} less that of {first.name}"
    return values, f"PSNR gain of {final.name} over the composite"


def _choices(values: Sequence[float], by_what: str, places: Sequence[int]) -> list[Choice]:
    """Images to show among those at ``places``: at equal distances, and by their values."""
    order = sorted((place for place in places if not math.isnan(values[place])), key=lambda place: values[place])
    if not order:
        return []
    middle = max(0, (len(order) - EXTREMES) // 2)
    step = math.ceil(len(places) / EVERY)
    return [
        Choice("Not picked", f"Every {_ordinal(step)}image, in the order of the list.", places[::step]),
        Choice("Best", f"The highest {by_what}.", order[::-1][:EXTREMES]),
        Choice("Median", f"In the middle by {by_what}.", order[middle : middle + EXTREMES]),
        Choice("Worst", f"The lowest {by_what}.", order[:EXTREMES]),
    ]


def _plots(systems: Sequence[System]) -> list[Plot]:
    if not systems:
        return []
    first = systems[0]
    return draw_plots(
        {system.name: Figures(*(np.array(system.scores(score)) for score in ("psnr", "fmse"))) for system in systems},
        Figures(*(np.array(first.inputs(score)) for score in ("psnr", "fmse"))) if first.inputs("psnr") else None,
        np.array([row.fg_ratio for row in first.rows]),
        np.array([row.submasks for row in first.rows]),
        [row.subset for row in first.rows],
    )


def _headline(system: System) -> list[tuple[str, str, list[str]]]:
    """The final image's means: heading, mean, and lines with its interval and the composites' mean."""
    rows, headline = with_harm(system.rows), []
    for score in ("psnr", "mse", "fmse", "worse"):
        found, before = (bootstrap(rows, prefix + score) for prefix in (system.prefix, "input_"))
        if found.images:
            low, high = figure(score, found.low), figure(score, found.high)
            lines = [f"95 % interval {low} to {high}"] if not math.isnan(found.low) else []
            if before.images:
                lines.append(f"composites {figure(score, before.mean)}")
            if score == "worse":
                much = bootstrap(rows, f"{system.prefix}worse_10").mean
                lines.append(f"by more than a tenth {figure('worse_10', much)}")
            headline.append((heading(score), figure(score, found.mean), lines))
    return headline


def _caption(systems: Sequence[System], place: int, *, differences: bool) -> str:
    """The figures of one image in a line."""
    row = systems[0].rows[place]
    parts = [f"foreground {100 * row.fg_ratio:.1f} %", f"K = {row.submasks}"]
    for score, unit in (("psnr", " dB"), ("fmse", "")):
        steps = [("composite", value[place])] if (value := systems[0].inputs(score)) else []
        steps += [(system.name, system.scores(score)[place]) for system in systems]
        shown = ", ".join(f"{name} {figure(score, value)}" for name, value in steps)
        if not differences and len(steps) > 1:
            shown = " → ".join(figure(score, value) for _, value in steps)
        parts.append(f"{heading(score).rstrip('↓↑')} {shown}{unit}")
    return " · ".join(parts)


def _lines(systems: Sequence[System], *, differences: bool) -> tuple[list[str], list[list[str]]]:
    """The table of all images, without their names: headings, and figures."""
    if not systems:
        return [], []
    first = systems[0]
    columns: dict[str, list[str]] = {
        "foreground, %": [f"{100 * row.fg_ratio:.2f}" for row in first.rows],
        "K": [str(row.submasks) for row in first.rows],
    }
    for score in ("psnr", "fmse"):
        label = heading(score)
        if before := first.inputs(score):
            columns[f"{label} composite"] = [figure(score, value) for value in before]
        for system in systems:
            columns[f"{label} {system.name}"] = [figure(score, value) for value in system.scores(score)]
        if score == "psnr" and (differences or before):
            values, _ = _ranking(systems, differences=differences)
            name = f"Δ {systems[1].name} − {first.name}" if differences else "gain"
            columns[f"PSNR {name}"] = [f"{value:+.2f}" for value in values]
    for system in systems if differences else systems[-1:]:
        if before := system.inputs("fmse"):
            changes = map(relative_change, system.scores("fmse"), before)
            name = f"{CHANGE} {system.name}, %" if differences else f"{CHANGE}, %"
            columns[name] = ["-" if math.isnan(change) else f"{change:+.1f}" for change in changes]
    return list(columns), [list(line) for line in zip(*columns.values(), strict=True)]


def _ordinal(number: int) -> str:
    """As "3rd ", with a space; empty for 1."""
    if number == 1:
        return ""
    return f"{number}{'th' if 10 <= number % 100 <= 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')} "


@lru_cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("frih.tools.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
