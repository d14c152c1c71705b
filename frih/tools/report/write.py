"""The folder of an evaluation: rows, summary, tables, and an HTML page."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from frih.common.cells import write_csv
from frih.common.columns import wrapped
from frih.common.files import write_whole
from frih.common.wording import counted
from frih.evaluation.command import progress
from frih.evaluation.layout import Table, fitted, listed, markdown_text
from frih.evaluation.published import COUNTS, TABLE_1, TABLE_2
from frih.evaluation.rows import write_rows
from frih.evaluation.statistics import INTERVALS
from frih.evaluation.tables import (
    BEST,
    beside_published,
    comparison,
    interval_tables,
    intervals,
    methods,
    summarize,
)
from frih.evaluation.write import as_json, write_json
from frih.metrics import PROTOCOLS, Row


def write_report(
    folder: Path,
    rows: Sequence[Row],
    protocol: str,
    names: Mapping[str, str] | None = None,
    about: Mapping[str, str | int] | None = None,
) -> str:
    """Writes ``rows.csv``, ``summary.json``, ``subsets.csv``, ``ratios.csv``, ``report.md`` and ``report.html`` into a folder.

    Args:
        folder: is made if it is not there.
        rows: one for each image.
        protocol: by which their figures were computed.
        names: methods by the prefix of their scores; by default those of :func:`~frih.evaluation.tables.methods`.
        about: what was evaluated on what, for ``summary.json`` and the reports.

    Returns:
        The tables as text that fits the console.
    """
    from frih.tools.report.html import evaluation_page  # loads matplotlib, which takes long

    names = names or methods()
    folder.mkdir(parents=True, exist_ok=True)
    found = intervals(rows)
    summary = {**summarize(rows, protocol), "intervals": as_json(found), "about": dict(about or {})}
    by_subset, by_ratio = comparison({"": summary}, names, [""])
    shown = [by_subset, by_ratio, *interval_tables({"": found}, names, [""])]
    if summary["subsets"].keys() == {*COUNTS, "All"}:
        shown += [beside_published(printed, {"": summary}, names) for printed in (TABLE_1, TABLE_2)]
    heading = describe(rows, [protocol])
    if empty := summary["empty_masks"]:
        heading += (
            f"\n{len(empty)} of them, with an empty mask, count in MSE and PSNR but have no fMSE: {listed(empty)}."
        )
    if early := progress(summary["about"]):
        heading += f"\nBeware: {early}: the run was not finished when these weights were written."
    write_rows(folder / "rows.csv", rows)
    write_csv(folder / "subsets.csv", by_subset.flat())
    write_csv(folder / "ratios.csv", by_ratio.flat())
    write_json(folder / "summary.json", summary)
    write_whole(folder / "report.md", markdown("Evaluation", heading, shown, summary["about"]))
    write_whole(folder / "report.html", evaluation_page(folder, rows, summary["about"], shown, names, heading))
    return "\n\n".join([wrapped(heading), *fitted([by_subset, by_ratio])])


def markdown(title: str, heading: str, shown: Sequence[Table], about: Mapping[str, Any]) -> str:
    """A report for papers: what was measured and how, the tables, and the tables in LaTeX."""
    latex = "\n\n".join(table.latex() for table in shown)
    parts = [
        f"# {title}",
        "\n".join(map(markdown_text, heading.splitlines())),
        "\n".join(f"- {markdown_text(key)}: {markdown_text(str(value))}" for key, value in about.items()),
        *(table.markdown() for table in shown),
        "\n".join([*[BEST] * any(table.best() for table in shown), INTERVALS]),
        "## For LaTeX\n\nWith `\\usepackage{booktabs}`.",
        f"```latex\n{latex}\n```",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def describe(rows: Sequence[Row], protocols: Collection[str]) -> str:
    """How many images of how many photos there are, and how they were measured."""
    images, photos = counted(len(rows), "image"), counted(len({row.real for row in rows}), "real photo")
    return f"{images} of {photos}, {'; '.join(f'protocol {name}: {PROTOCOLS[name].summary}' for name in protocols)}."
