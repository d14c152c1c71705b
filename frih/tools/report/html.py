"""The page to look at: tables, plots, images and a line for each image, in one file that needs no other."""

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
from frih.evaluation.tables import METHODS, RATIOS, Summary
from frih.metrics import Row, with_harm
from frih.metrics.harm import TOLERANCE, relative_change
from frih.tools.report.embedding import Album
from frih.tools.report.plots import Figures, Plot, draw_plots
from frih.tools.report.thumbnails import SCALE, Thumbnails, ending, error_colors

EXTREMES, EVERY = 3, 8
"""Best, worst and median images to show; images at equal distances through the list."""
FINAL = ("refined", "prediction", "composite")
"""Stages that may be an evaluation's final image; the first that is stored is."""


CHANGE = "fMSE change"
"""Heading of the column by which the images that were made worse are found."""


class System(NamedTuple):
    """What is shown as one method: the images of an evaluation and their scores."""

    name: str
    rows: Sequence[Row]
    """In the same order for every system of a page."""
    prefix: str
    """Of its scores."""
    folder: Path
    """Of the evaluation."""
    stages: tuple[str, ...]
    """Which stage shows it: the first of these that is stored."""


class Slot(NamedTuple):
    """One of the images that are shown of each composite."""

    label: str
    folder: Path
    """Of the evaluation."""
    rows: Sequence[Row]
    """Of the evaluation, whose names are those of the files."""
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
    places: list[int]
    """In the rows."""


def evaluation_page(
    folder: Path, rows: Sequence[Row], summary: Summary, shown: Sequence[Table], names: Mapping[str, str], lead: str
) -> str:
    """The page of one evaluation, with the images stored in its folder."""
    stages = {"coarse_": ("coarse",), "": FINAL}
    methods = [(prefix, name) for prefix, name in names.items() if prefix in stages]
    systems = [
        System(name, rows, prefix, folder, stages[prefix])
        for prefix, name in methods
        if rows and f"{prefix}psnr" in rows[0].scores
    ]
    final = names.get("", METHODS[""])
    return _page(folder, systems, f"Evaluation: {final}", lead, shown, summary["about"], differences=False)


def comparison_page(
    out: Path,
    systems: Mapping[str, tuple[Path, Sequence[Row]]],
    shown: Sequence[Table],
    lead: str,
    about: Mapping[str, str],
) -> str:
    """The page of several evaluations of the same images, in the same order, by name."""
    listed = [System(name, rows, "", folder, FINAL) for name, (folder, rows) in systems.items()]
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
    choices = _choices(
        values, by_what, [place for place in range(len(rows)) if slots and slots[0].path(place).is_file()]
    )
    featured = {place for choice in choices for place in choice.places}
    images = _embed(len(rows), slots, featured)
    folders = [quote(Path(os.path.relpath(slot.folder / "images", out)).as_posix()) for slot in slots]
    headings, lines = _lines(systems, differences=differences)
    page: str = _template().render(
        title=title,
        version=frih.__version__,
        lead=lead.splitlines(),
        about=about,
        headline=[] if differences or not systems else _headline(systems[-1]),
        tables=shown,
        intervals_note=INTERVALS,
        plots=[(plot, Markup(plot.svg)) for plot in _plots(systems)],
        choices=choices,
        slots=slots,
        link=lambda slot, place: (
            f"{folders[slot]}/{quote(slots[slot].path(place).relative_to(slots[slot].folder / 'images').as_posix())}"
        ),
        rows=rows,
        captions={place: _caption(systems, place, differences=differences) for place in featured},
        images=images,
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
    """What is shown of each image, by what is stored of the first one that has images; none where nothing is stored."""
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
            stage = next((stage for stage in system.stages if stage in stages), None)
            if stage:
                results.append(Slot(system.name, system.folder, system.rows, stage))
        real = [Slot("real", *first, "real")] if "real" in stored[0] else []
        compared = [*slots[:1], *(slot for slot in results if slot.kind != "composite")] if real else []
        errors = [slot._replace(kind=f"{slot.kind}-error", error=True) for slot in compared]
        return [*slots, *(slot for slot in results if slot not in slots and slot.kind != "composite"), *real, *errors]
    return []


def _embed(total: int, slots: Sequence[Slot], featured: Set[int]) -> list[list[str] | None]:
    """Of each row, the content of its images: "" where a page must link to the file; None where there is none.

    What is featured comes first and as it is stored; then, from the first row on, as much as there is room for, made smaller if
    not everything fits.
    """
    album = Album()
    images: list[list[str] | None] = [None] * total
    stored = {place: [slot.path(place) for slot in slots] for place in range(total) if slots}
    stored = {place: paths for place, paths in stored.items() if all(path.is_file() for path in paths)}
    for place in sorted(featured & stored.keys()):
        images[place] = [album.take(path) for path in stored[place]]
    others = {place: paths for place, paths in stored.items() if place not in featured}
    smaller = not album.fits(path for paths in others.values() for path in paths)
    for place, paths in others.items():
        images[place] = [album.take(path, smaller=smaller) for path in paths]
    return images


def _ranking(systems: Sequence[System], *, differences: bool) -> tuple[list[float], str]:
    """A figure for each row by which best and worst are told, and what it is."""
    if not systems:
        return [], ""
    if differences:
        first, second = systems[:2]
        values = [a - b for a, b in zip(_scores(second, "psnr"), _scores(first, "psnr"), strict=True)]
        return values, f"PSNR of {second.name} less that of {first.name}"
    final = systems[-1]
    if not _has_input(final):
        return _scores(final, "psnr"), f"PSNR of {final.name}"
    values = [row.scores[f"{final.prefix}psnr"] - row.scores["input_psnr"] for row in final.rows]
    return values, f"PSNR gain of {final.name} over the composite"


def _choices(values: Sequence[float], by_what: str, places: Sequence[int]) -> list[Choice]:
    """Images to look at among those at ``places``: by their values, and without a look at them."""
    order = sorted((place for place in places if not math.isnan(values[place])), key=lambda place: values[place])
    if not order:
        return []
    middle = max(0, (len(order) - EXTREMES) // 2)
    step = max(1, math.ceil(len(places) / EVERY))
    return [
        Choice(
            "Not picked",
            f"Every {_ordinal(step)} image".replace("  ", " ") + ", in the order of the list.",
            list(places[::step]),
        ),
        Choice("Best", f"The highest {by_what}.", order[::-1][:EXTREMES]),
        Choice("Median", f"In the middle by {by_what}.", order[middle : middle + EXTREMES]),
        Choice("Worst", f"The lowest {by_what}.", order[:EXTREMES]),
    ]


def _plots(systems: Sequence[System]) -> list[Plot]:
    if not systems:
        return []
    rows = systems[0].rows
    composites = None
    if _has_input(systems[0]):
        composites = Figures(*(np.array([row.scores[f"input_{name}"] for row in rows]) for name in ("psnr", "fmse")))
    return draw_plots(
        {
            system.name: Figures(np.array(_scores(system, "psnr")), np.array(_scores(system, "fmse")))
            for system in systems
        },
        composites,
        np.array([row.fg_ratio for row in rows]),
        np.array([row.submasks for row in rows]),
        [row.subset for row in rows],
    )


def _headline(system: System) -> list[tuple[str, str, list[str]]]:
    """The final image's means: heading, mean, and lines on its interval and on what the composites have."""
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
        steps = [("composite", row.scores["input_" + score])] if _has_input(systems[0]) else []
        steps += [(system.name, system.rows[place].scores[system.prefix + score]) for system in systems]
        shown = ", ".join(f"{name} {figure(score, value)}" for name, value in steps)
        if not differences and len(steps) > 1:
            shown = " → ".join(figure(score, value) for _, value in steps)
        parts.append(f"{heading(score).rstrip('↓↑')} {shown}{unit}")
    return " · ".join(parts)


def _lines(systems: Sequence[System], *, differences: bool) -> tuple[list[str], list[list[str]]]:
    """The table of all images, beside their names: headings, and figures."""
    if not systems:
        return [], []
    rows = systems[0].rows
    columns: dict[str, list[str]] = {
        "foreground, %": [f"{100 * row.fg_ratio:.2f}" for row in rows],
        "K": [str(row.submasks) for row in rows],
    }
    for score in ("psnr", "fmse"):
        label = heading(score)
        if _has_input(systems[0]):
            columns[f"{label} composite"] = [figure(score, row.scores[f"input_{score}"]) for row in rows]
        for system in systems:
            columns[f"{label} {system.name}"] = [figure(score, value) for value in _scores(system, score)]
        if score == "psnr" and (differences or _has_input(systems[0])):
            values, _ = _ranking(systems, differences=differences)
            name = f"Δ {systems[1].name} − {systems[0].name}" if differences else "gain"
            columns[f"PSNR {name}"] = [f"{value:+.2f}" for value in values]
    for system in filter(_has_input, systems if differences else systems[-1:]):
        pairs = zip(_scores(system, "fmse"), (row.scores["input_fmse"] for row in system.rows), strict=True)
        changes = [relative_change(fmse, composite) for fmse, composite in pairs]
        name = f"{CHANGE} {system.name}, %" if differences else f"{CHANGE}, %"
        columns[name] = ["-" if math.isnan(change) else f"{change:+.1f}" for change in changes]
    return list(columns), [list(line) for line in zip(*columns.values(), strict=True)]


def _scores(system: System, score: str) -> list[float]:
    return [row.scores[system.prefix + score] for row in system.rows]


def _has_input(system: System) -> bool:
    return bool(system.rows) and "input_psnr" in system.rows[0].scores


def _ordinal(number: int) -> str:
    if number == 1:
        return ""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


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
