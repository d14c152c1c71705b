"""Several evaluations of the same images beside each other, with their paired differences."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frih.common.columns import wrapped
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.evaluation.command import progress
from frih.evaluation.layout import Table, fitted, heading, listed
from frih.evaluation.rows import by_image, read_rows
from frih.evaluation.statistics import Difference, Group, paired
from frih.evaluation.tables import (
    INPUT,
    RATIOS,
    Intervals,
    comparison,
    groups,
    interval_tables,
    intervals,
    summarize,
    with_interval,
)
from frih.evaluation.write import as_json, write_json
from frih.metrics import METRICS, PAPER, PROTOCOLS, Row
from frih.tools.report.write import describe, markdown

Differences = dict[str, dict[str, dict[str, Difference]]]
"""By ``subsets`` and ``ratios``, by group, by score."""


class Evaluation(NamedTuple):
    """What :func:`~frih.tools.report.write.write_report` wrote into a folder."""

    folder: Path
    rows: list[Row]
    protocol: str
    size: str
    """Of the evaluated images; empty where the folder does not say."""
    progress: str = ""
    """How far the run had come, if it was not finished."""
    data: str = ""
    """What was evaluated, as :meth:`~frih.data.iharmony4.Listing.describe` has it."""


def compare(evaluations: Mapping[str, Path] | Sequence[Path], out: Path, *, anyway: bool = False) -> str:
    """Writes ``comparison.md``, ``comparison.html`` and ``comparison.json`` into a folder.

    Args:
        evaluations: folders, by the systems' names; without names, the parts of the paths that differ are taken. The others are
            compared with the first.
        out: is made if it is not there.
        anyway: also compare evaluations of different protocols or sizes, and on the images that all of them have; the
            differences are printed with the tables.

    Returns:
        The tables as text that fits the console.

    Raises:
        UserError: fewer than two evaluations, a damaged one, or ones that cannot be compared, with everything that differs.
    """
    from frih.tools.report.html import comparison_page  # loads matplotlib, which takes long

    folders = dict(evaluations) if isinstance(evaluations, Mapping) else short_names(evaluations)
    if len(folders) < 2:
        raise UserError("there is nothing to compare: give two evaluations or more")
    systems = {name: read_evaluation(folder) for name, folder in folders.items()}
    remarks = what_differs(systems)
    if remarks and not anyway:
        raise UserError(
            "\n".join([*remarks, "compare what was measured alike, or give --anyway, which is printed with it"])
        )
    systems = _on_shared_images(systems)
    reference, *others = systems
    summaries = {name: summarize(one.rows, one.protocol) for name, one in systems.items()}
    found = {name: intervals(one.rows) for name, one in systems.items()}
    alike = len({(one.protocol, one.size) for one in systems.values()}) == 1
    inputs = {
        INPUT if alike else f"{INPUT}, {name}": summarize(input_rows(one.rows), one.protocol)
        for name, one in list(systems.items())[: 1 if alike else None]
        if "input_mse" in one.rows[0].scores
    }
    rivals = systems if alike else ()
    differences = {name: _differences(systems[name].rows, systems[reference].rows) for name in others}
    shown = [
        *comparison({**inputs, **summaries}, {"": ""}, rivals),
        *(_difference_table(name, reference, one) for name, one in differences.items()),
        *interval_tables(found, {"": ""}, rivals),
    ]
    measured = describe(systems[reference].rows, dict.fromkeys(one.protocol for one in systems.values()))
    early = [f"{name} is of {one.progress} of its run" for name, one in systems.items() if one.progress]
    text = "\n".join([measured, *(f"Beware: {remark}." for remark in (*remarks, *early))])
    about = {name: str(one.folder) for name, one in systems.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "comparison.md", markdown("Comparison", text, shown, about))
    write_json(
        out / "comparison.json",
        {
            "remarks": [*remarks, *early],
            "systems": {name: _as_json(one, found[name]) for name, one in systems.items()},
            "reference": reference,
            "differences": {name: as_json(one) for name, one in differences.items()},
        },
    )
    rows = {name: (one.folder, one.rows) for name, one in systems.items()}
    write_whole(out / "comparison.html", comparison_page(out, rows, shown, text, about))
    return "\n\n".join([wrapped(text), *fitted(shown[: 1 + len(systems)])])


def read_evaluation(folder: Path) -> Evaluation:
    """Reads an evaluation's folder.

    Raises:
        UserError: it is not an evaluation's, or damaged.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        protocol, about = summary["protocol"], summary.get("about", {})
        size = str(about.get("size", ""))
        data = str(about.get("data", ""))
        known, early = protocol in PROTOCOLS, progress(about)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a folder that evaluate.py wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path}: is no summary of an evaluation; evaluate again") from None
    if not known:
        raise UserError(f"{path}: names the protocol {protocol!r}, which does not exist; evaluate again")
    rows = read_rows(folder / "rows.csv")
    if not rows or not all(score in rows[0].scores for score in PAPER):
        raise UserError(f"{folder / 'rows.csv'}: has no rows with {', '.join(PAPER)}; evaluate again")
    return Evaluation(folder, rows, protocol, size, early, data)


def short_names(folders: Sequence[Path]) -> dict[str, Path]:
    """Names folders by the parts of their paths in which they differ.

    Raises:
        UserError: a folder is given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    for place, folder in enumerate(folders):
        if parts[place] in parts[:place]:
            raise UserError(f"{folder}: is given twice")
    if len(folders) < 2:
        return {folder.name: folder for folder in folders}
    shortest = min(map(len, parts))
    start = next((i for i in range(shortest) if len({part[i] for part in parts}) > 1), shortest - 1)
    end = next((i for i in range(shortest - start) if len({part[-1 - i] for part in parts}) > 1), 0)
    return {
        "/".join(part[start : len(part) - end]) or part[-1]: folder for part, folder in zip(parts, folders, strict=True)
    }


def input_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the composites themselves, from those of an evaluation."""
    prefix = "input_"
    return [
        row._replace(
            scores={name.removeprefix(prefix): value for name, value in row.scores.items() if name.startswith(prefix)}
        )
        for row in rows
    ]


def what_differs(systems: Mapping[str, Evaluation]) -> list[str]:
    """Why evaluations, by their names, cannot be compared; empty if they can."""

    def by_name(what: Callable[[Evaluation], str]) -> str:
        return ", ".join(f"{name} {what(one)}" for name, one in systems.items())

    remarks = []
    if len({one.protocol for one in systems.values()}) > 1:
        remarks.append(f"the protocols differ: {by_name(lambda one: one.protocol)}")
    if len({one.size for one in systems.values()}) > 1:
        remarks.append(f"the sizes differ: {by_name(lambda one: one.size or 'unknown')}")
    images = {name: by_image(one.rows) for name, one in systems.items()}
    everything = {key: row for rows in images.values() for key, row in rows.items()}
    for name, known in images.items():
        if missing := sorted(everything.keys() - known.keys()):
            names = [f"{everything[key].subset}/{everything[key].name}" for key in missing]
            remarks.append(f"{name} lacks {listed(names)}, which others have")
    return remarks


def _on_shared_images(systems: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    """The evaluations with only the images that all have, in the order of the first."""
    images = {name: by_image(one.rows) for name, one in systems.items()}
    first = next(iter(images.values()))
    shared = [image for image in first if all(image in rows for rows in images.values())]
    if not shared:
        raise UserError("the evaluations have no image in common")
    return {name: one._replace(rows=[images[name][key] for key in shared]) for name, one in systems.items()}


def _differences(rows: Sequence[Row], reference: Sequence[Row]) -> Differences:
    return {
        kind: {group: _paired(rows, reference, belongs) for group, belongs in parts.items()}
        for kind, parts in groups(reference).items()
    }


def _paired(rows: Sequence[Row], others: Sequence[Row], belongs: Group) -> dict[str, Difference]:
    found = {
        score: paired(rows, others, score, higher_is_better=metric.better == "higher", members=belongs)
        for score, metric in METRICS.items()
        if score in rows[0].scores and score in others[0].scores
    }
    return {score: difference for score, difference in found.items() if difference.images}


def _difference_table(name: str, reference: str, found: Differences) -> Table:
    parts = {**found["subsets"], **{f"{ratio}%": found["ratios"][ratio] for ratio in RATIOS}}
    scores = list(dict.fromkeys(score for cell in parts.values() for score in cell))
    lines = []
    for group, cell in parts.items():
        if cell:
            shown = [cell.get(score) for score in scores]
            figures = []
            for score, known in zip(scores, shown, strict=True):
                wins = f"{100 * known.wins:.0f}%" if known else "-"
                figures += [with_interval(score, known, signed=True), wins]
            lines.append([group, str(max(known.images for known in cell.values())), *figures])
    headings = [part for score in scores for part in (f"Δ {heading(score)}", "won")]
    return Table(
        "Images",
        ["number", *headings],
        [],
        lines,
        (),
        f"{name} less {reference}, image by image",
        notes=(f"Won: share of the images on which {name} is the better one; ties count half.",),
    )


def _as_json(evaluation: Evaluation, found: Intervals) -> dict[str, Any]:
    return {
        "folder": os.fspath(evaluation.folder),
        "protocol": evaluation.protocol,
        "size": evaluation.size,
        **summarize(evaluation.rows, evaluation.protocol),
        "intervals": as_json(found),
    }
