"""From rows, one a picture, to the paper's tables: per subset (Table 1) and per foreground ratio (Table 2)."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frih.metrics import PROTOCOLS, Row

RATIOS = {"0-5": (0.0, 0.05), "5-15": (0.05, 0.15), "15-100": (0.15, math.inf)}
"""Foreground ratios in percent, and the shares they hold: from the first on, below the second. Each picture is in one."""
METRICS = {"mse": "MSE↓", "psnr": "PSNR↑", "fmse": "fMSE↓"}
METHODS = {"input_": "Input composite", "coarse_": "Coarse", "": "Refined"}
"""What a row may have scores of, by the prefix of their names."""

Summary = dict[str, Any]


def summarize(rows: Sequence[Row], protocol: str) -> Summary:
    """Means over pictures.

    Returns:
        ``{"protocol", "images", "empty_masks", "subsets": {name: cell, ..., "All": cell}, "ratios": {"0-5": cell, ...,
        "All": cell}}``; a cell holds ``images`` and the mean of each score. "All" is the mean over all pictures, not over the
        groups. A picture with an empty mask has no fMSE and stays out of that mean alone. A group of no pictures is left out.
    """
    groups = {
        "subsets": {
            subset: [row for row in rows if row.subset == subset]
            for subset in dict.fromkeys(row.subset for row in rows)
        },
        "ratios": {name: [row for row in rows if low <= row.fg_ratio < high] for name, (low, high) in RATIOS.items()},
    }
    return {
        "protocol": protocol,
        "images": len(rows),
        "empty_masks": sum(row.fg_ratio == 0 for row in rows),
        **{
            kind: {name: _cell(members) for name, members in (*parts.items(), ("All", rows)) if members}
            for kind, parts in groups.items()
        },
    }


class Table(NamedTuple):
    """Groups of pictures side by side, each with all :data:`METRICS`; a line a method."""

    corner: str
    groups: list[str]
    images: list[int]
    """Pictures in each group."""
    lines: list[list[str]]
    """The method's name, then its figures, group by group."""

    def flat(self) -> list[list[str]]:
        """Cells for a CSV file, under one line of headings."""
        return [[self.corner, *(f"{group} {metric}" for group in self.groups for metric in METRICS)], *self.lines]

    def markdown(self) -> str:
        """Markdown, under two lines of headings as in the paper."""
        blanks = [""] * (len(METRICS) - 1)
        spread = [cell for title in self._titles() for cell in (title, *blanks)]
        rule = ["---"] + ["---:"] * len(spread)
        lines = [[self.corner, *spread], rule, self._metrics(), *self.lines]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def text(self) -> str:
        """Aligned columns for a console: a space between columns, two between groups."""
        lines = [self._metrics(), *self.lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        widths[0] = max(widths[0], len(self.corner))
        count, spans = len(METRICS), []
        for first, title in zip(range(1, len(widths), count), self._titles(), strict=True):
            room = sum(widths[first : first + count]) + count - 1
            widths[first] += max(0, len(title) - room)
            spans.append(max(len(title), room))
        body = [_aligned(line, widths, count) for line in lines]
        heading = "  ".join([self.corner.ljust(widths[0]), *map(str.center, self._titles(), spans)])
        return "\n".join(line.rstrip() for line in [heading, body[0], "-" * len(body[0]), *body[1:]])

    def _titles(self) -> list[str]:
        return [f"{group} ({images})" for group, images in zip(self.groups, self.images, strict=True)]

    def _metrics(self) -> list[str]:
        return ["", *list(METRICS.values()) * len(self.groups)]


def tables(summary: Summary, names: Mapping[str, str] = METHODS) -> tuple[Table, Table]:
    """The paper's Tables 1 and 2 of a summary, one line for each method that it has scores of."""
    percent = {f"{name}%" if name in RATIOS else name: cell for name, cell in summary["ratios"].items()}
    return _table("Sub-dataset", summary["subsets"], names), _table("Foreground ratio", percent, names)


def write_report(
    folder: Path,
    rows: Sequence[Row],
    protocol: str,
    names: Mapping[str, str] = METHODS,
    about: Mapping[str, str | int] | None = None,
) -> str:
    """Writes ``rows.csv``, ``summary.json``, ``subsets.csv``, ``ratios.csv`` and ``report.md`` into a folder.

    Args:
        folder: is made if it is not there.
        rows: one a picture.
        protocol: by which their figures were computed.
        names: methods by the prefix of their scores.
        about: what was evaluated on what, for ``summary.json`` and ``report.md``.

    Returns:
        The tables as text for a console.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = {**summarize(rows, protocol), "about": dict(about or {})}
    by_subset, by_ratio = tables(summary, names)
    heading = _heading(summary)
    details = "\n".join(f"- {key}: {value}" for key, value in summary["about"].items())
    _write_csv(folder / "rows.csv", _row_lines(rows))
    _write_csv(folder / "subsets.csv", by_subset.flat())
    _write_csv(folder / "ratios.csv", by_ratio.flat())
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(
        "\n\n".join([heading, by_subset.markdown(), by_ratio.markdown(), details]).rstrip() + "\n", encoding="utf-8"
    )
    return "\n\n".join([heading, by_subset.text(), by_ratio.text()])


def _aligned(line: Sequence[str], widths: Sequence[int], count: int) -> str:
    cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
    groups = [" ".join(cells[i : i + count]) for i in range(0, len(cells), count)]
    return "  ".join([line[0].ljust(widths[0]), *groups])


def _table(corner: str, cells: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> Table:
    lines = [
        [method, *(_figure(cell.get(prefix + metric)) for cell in cells.values() for metric in METRICS)]
        for prefix, method in names.items()
        if f"{prefix}mse" in cells["All"]
    ]
    return Table(corner, list(cells), [int(cell["images"]) for cell in cells.values()], lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(rows: Sequence[Row]) -> dict[str, float]:
    """How many pictures, and the mean of each score over those that have it."""
    cell: dict[str, float] = {"images": len(rows)}
    for name in rows[0].scores if rows else ():
        known = [row.scores[name] for row in rows if not math.isnan(row.scores[name])]
        if known:
            cell[name] = math.fsum(known) / len(known)
    return cell


def _heading(summary: Summary) -> str:
    protocol = PROTOCOLS[summary["protocol"]]
    text = f"{summary['images']} pictures, protocol {protocol.name}: {protocol.summary}."
    if summary["empty_masks"]:
        text += f"\n{summary['empty_masks']} of them have an empty mask: they count in MSE and PSNR, but have no fMSE."
    return text


def _row_lines(rows: Sequence[Row]) -> list[list[str]]:
    names = list(rows[0].scores) if rows else []
    return [["subset", "name", "fg_ratio", "submasks", *names]] + [
        [row.subset, row.name, _exact(row.fg_ratio), str(row.submasks), *(_exact(row.scores[name]) for name in names)]
        for row in rows
    ]


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _write_csv(path: Path, lines: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
