"""The folder of an evaluation: rows, summary, tables, and a page to look at."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from frih.common.files import write_whole
from frih.common.wording import counted
from frih.evaluation.layout import Table
from frih.evaluation.published import COUNTS, TABLE_1, TABLE_2
from frih.evaluation.rows import write_rows
from frih.evaluation.statistics import INTERVALS
from frih.evaluation.tables import (
    METHODS,
    Intervals,
    Summary,
    beside_published,
    interval_tables,
    intervals,
    summarize,
    tables,
)
from frih.metrics import PROTOCOLS, Row

Page = Callable[[Path, Sequence[Row], Summary, Sequence[Table], Mapping[str, str], str], str]
"""Makes an HTML page of an evaluation's folder, rows, summary, tables, names of methods, and heading."""


def write_report(
    folder: Path,
    rows: Sequence[Row],
    protocol: str,
    names: Mapping[str, str] = METHODS,
    about: Mapping[str, str | int] | None = None,
    page: Page | None = None,
) -> str:
    """Writes ``rows.csv``, ``summary.json``, ``subsets.csv``, ``ratios.csv``, ``report.md`` and ``report.html`` into a folder.

    Args:
        folder: is made if it is not there.
        rows: one an image.
        protocol: by which their figures were computed.
        names: methods by the prefix of their scores.
        about: what was evaluated on what, for ``summary.json`` and the reports.
        page: makes ``report.html``: :func:`frih.tools.report.evaluation_page`. Without it there is none.

    Returns:
        The tables as text for a console.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = intervals(rows)
    summary = {**summarize(rows, protocol), "intervals": as_json(found), "about": dict(about or {})}
    by_subset, by_ratio = tables(summary, names)
    shown = [by_subset, by_ratio, *interval_tables({"": found}, names)]
    if summary["subsets"].keys() == {*COUNTS, "All"}:
        shown += [beside_published(printed, {"": summary}, names) for printed in (TABLE_1, TABLE_2)]
    heading = describe(summary)
    write_rows(folder / "rows.csv", rows)
    write_csv(folder / "subsets.csv", by_subset.flat())
    write_csv(folder / "ratios.csv", by_ratio.flat())
    write_json(folder / "summary.json", summary)
    write_whole(folder / "report.md", markdown("Evaluation", heading, shown, summary["about"]))
    if page:
        write_whole(folder / "report.html", page(folder, rows, summary, shown, names, heading))
    return "\n\n".join([heading, by_subset.folded(), by_ratio.folded()])


def markdown(title: str, heading: str, shown: Sequence[Table], about: Mapping[str, Any]) -> str:
    """A report for papers: what was measured and how, the tables, and the same in LaTeX."""
    details = "\n".join(f"- {key}: {value}" for key, value in about.items())
    latex = "\n\n".join(table.latex() for table in shown)
    parts = [
        f"# {title}",
        heading,
        *([details] if details else []),
        *(table.markdown() for table in shown),
        INTERVALS,
        "## For LaTeX\n\nWith `\\usepackage{booktabs}`.",
        f"```latex\n{latex}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def describe(summary: Summary) -> str:
    """How many images of how many photos, and how they were measured."""
    protocol = PROTOCOLS[summary["protocol"]]
    text = f"{counted(summary['images'], 'image')} of {counted(summary['photos'], 'real photo')}"
    text += f", protocol {protocol.name}: {protocol.summary}."
    if summary["empty_masks"]:
        names = summary["empty_masks"]
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        text += f"\n{len(names)} of them, with an empty mask, count in MSE and PSNR but have no fMSE: {listed}."
    return text


def as_json(found: Intervals) -> dict[str, Any]:
    """The intervals of every group, by score; ends are null where there is none."""
    return {
        kind: {
            group: {score: finite(interval._asdict()) for score, interval in cell.items()}
            for group, cell in parts.items()
        }
        for kind, parts in found.items()
    }


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Values as JSON takes them: what is not a number is null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON for people and programs."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, lines: Sequence[Sequence[str]]) -> None:
    """Writes lines of cells."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    write_whole(path, file.getvalue())
