"""Several evaluations of the same images beside each other, with their paired differences."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frih import metrics
from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.wording import counted
from frih.evaluation.layout import Table, heading
from frih.evaluation.rows import by_image, read_rows
from frih.evaluation.statistics import Difference, paired
from frih.evaluation.tables import RATIOS, comparison, groups, interval_tables, intervals, summarize, with_interval
from frih.evaluation.write import as_json, finite, markdown, write_json
from frih.metrics import PAPER, PROTOCOLS, Row

Differences = dict[str, dict[str, dict[str, dict[str, Difference]]]]
"""By system, by ``subsets`` and ``ratios``, by group, by score."""


class Evaluation(NamedTuple):
    """What :func:`~frih.evaluation.write.write_report` wrote into a folder."""

    folder: Path
    rows: list[Row]
    protocol: str
    size: str
    """Of the evaluated images; empty where the folder does not say."""


def compare(evaluations: Mapping[str, Path] | Sequence[Path], out: Path, *, anyway: bool = False) -> str:
    """Writes ``comparison.md``, ``comparison.html`` and ``comparison.json`` into a folder.

    Args:
        evaluations: folders, by the systems' names; without names, the parts of the paths that differ are taken. The first is
            what the others are compared with.
        out: is made if it is not there.
        anyway: compare evaluations of different protocols or sizes, too, and of the images that all of them have; what
            differs is printed with the tables.

    Returns:
        The tables as text for a console.

    Raises:
        UserError: fewer than two evaluations, a damaged one, or ones that cannot be compared; all that differs is named.
    """
    from frih.tools.report.html import comparison_page  # drawing takes long to load, and training has no need of it

    folders = dict(evaluations) if isinstance(evaluations, Mapping) else short_names(evaluations)
    if len(folders) < 2:
        raise UserError("there is nothing to compare: give two evaluations or more")
    systems = {name: read_evaluation(folder) for name, folder in folders.items()}
    remarks = _what_differs(systems)
    if remarks and not anyway:
        raise UserError(
            "\n".join([*remarks, "compare what was measured alike, or give --anyway, which is printed with it"])
        )
    systems = _on_shared_images(systems)
    summaries = {name: summarize(one.rows, one.protocol) for name, one in systems.items()}
    found = {name: intervals(one.rows) for name, one in systems.items()}
    alike = len({(one.protocol, one.size) for one in systems.values()}) == 1
    inputs = {
        "Input composite" if alike else f"Input composite, {name}": summarize(input_rows(one.rows), one.protocol)
        for name, one in list(systems.items())[: 1 if alike else None]
        if _has_input(one.rows)
    }
    differences = _differences(systems)
    shown = [
        *comparison({**inputs, **summaries}, {"": ""}),
        *(_difference_table(name, next(iter(systems)), one) for name, one in differences.items()),
        *interval_tables(found, {"": ""}),
    ]
    text = "\n".join([_describe(systems), *(f"Beware: {remark}." for remark in remarks)])
    about = {name: str(one.folder) for name, one in systems.items()}
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "comparison.md", markdown("Comparison", text, shown, about))
    write_json(out / "comparison.json", _as_json(systems, remarks, found, differences))
    rows = {name: (one.folder, one.rows) for name, one in systems.items()}
    write_whole(out / "comparison.html", comparison_page(out, rows, shown, text, about))
    return "\n\n".join([text, *(table.folded() for table in shown[: 1 + len(systems)])])


def read_evaluation(folder: Path) -> Evaluation:
    """Reads an evaluation's folder.

    Raises:
        UserError: it is none, or damaged.
    """
    path = folder / "summary.json"
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        protocol, about = summary["protocol"], summary.get("about", {})
        size = str(about.get("size", ""))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a folder that evaluate.py wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: is no summary of an evaluation; evaluate again") from None
    if protocol not in PROTOCOLS:
        raise UserError(f"{path}: names the protocol {protocol!r}, which there is not; evaluate again")
    rows = read_rows(folder / "rows.csv")
    if not rows or not all(score in rows[0].scores for score in PAPER):
        raise UserError(f"{folder / 'rows.csv'}: has no rows with {', '.join(PAPER)}; evaluate again")
    return Evaluation(folder, rows, protocol, size)


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


def _has_input(rows: Sequence[Row]) -> bool:
    return "input_mse" in rows[0].scores


def _what_differs(systems: Mapping[str, Evaluation]) -> list[str]:
    """Sentences on what forbids a comparison."""

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
            names = ", ".join(f"{everything[key].subset}/{everything[key].name}" for key in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            remarks.append(f"{name} lacks {names}{more}, which others have")
    return remarks


def _on_shared_images(systems: Mapping[str, Evaluation]) -> dict[str, Evaluation]:
    """The same with the rows of images that all have, in the order of the first."""
    images = {name: by_image(one.rows) for name, one in systems.items()}
    first = next(iter(images.values()))
    shared = [image for image in first if all(image in rows for rows in images.values())]
    if not shared:
        raise UserError("the evaluations have no image in common")
    return {name: one._replace(rows=[images[name][key] for key in shared]) for name, one in systems.items()}


def _differences(systems: Mapping[str, Evaluation]) -> Differences:
    """Each system less the first."""
    first, *others = systems.values()
    _, *names = systems
    return {
        name: {
            kind: {group: _paired(other.rows, first.rows, belongs) for group, belongs in parts.items()}
            for kind, parts in groups(first.rows).items()
        }
        for name, other in zip(names, others, strict=True)
    }


def _paired(rows: Sequence[Row], others: Sequence[Row], belongs: Callable[[Row], bool]) -> dict[str, Difference]:
    shared = [score for score in metrics.METRICS if score in rows[0].scores and score in others[0].scores]
    found = {
        score: paired(rows, others, score, higher_is_better=metrics.METRICS[score].better == "higher", members=belongs)
        for score in shared
    }
    return {score: difference for score, difference in found.items() if difference.images}


def _difference_table(name: str, reference: str, found: Mapping[str, Mapping[str, Mapping[str, Difference]]]) -> Table:
    parts = {**found["subsets"], **{f"{ratio}%": found["ratios"][ratio] for ratio in RATIOS}}
    scores = list(dict.fromkeys(score for cell in parts.values() for score in cell))
    lines = []
    for group, cell in parts.items():
        if cell:
            shown = [cell.get(score) for score in scores]
            figures = [
                part
                for score, known in zip(scores, shown, strict=True)
                for part in (
                    with_interval(score, known, signed=True),
                    f"{100 * known.wins:.0f}%" if known else "-",
                )
            ]
            lines.append([group, str(max(known.images for known in shown if known)), *figures])
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


def _describe(systems: Mapping[str, Evaluation]) -> str:
    first = next(iter(systems.values()))
    photos = len({row.real for row in first.rows})
    protocols = dict.fromkeys(one.protocol for one in systems.values())
    rules = "; ".join(f"protocol {name}: {PROTOCOLS[name].summary}" for name in protocols)
    return f"{counted(len(first.rows), 'image')} of {counted(photos, 'real photo')}, {rules}."


def _as_json(
    systems: Mapping[str, Evaluation],
    remarks: Sequence[str],
    found: Mapping[str, Any],
    differences: Differences,
) -> dict[str, Any]:
    return {
        "remarks": list(remarks),
        "systems": {
            name: {
                "folder": os.fspath(one.folder),
                "protocol": one.protocol,
                "size": one.size,
                **summarize(one.rows, one.protocol),
                "intervals": as_json(found[name]),
            }
            for name, one in systems.items()
        },
        "reference": next(iter(systems)),
        "differences": {
            name: {
                kind: {
                    group: {score: finite(one._asdict()) for score, one in cell.items()}
                    for group, cell in parts.items()
                }
                for kind, parts in kinds.items()
            }
            for name, kinds in differences.items()
        },
    }
