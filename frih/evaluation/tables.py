"""From rows, one an image, to the paper's tables: per subset (Table 1) and per foreground ratio (Table 2), and the others."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from frih import metrics
from frih.evaluation.layout import MAIN, METRICS, Table, figure, heading
from frih.evaluation.published import COUNTS, SUBSETS, TABLE_5, TABLE_6, Line, Printed
from frih.evaluation.statistics import Difference, Interval, bootstrap
from frih.metrics import HARM, Row, with_harm
from frih.metrics.harm import TENTH, TOLERANCE

RATIOS = {"0-5": (0.0, 0.05), "5-15": (0.05, 0.15), "15-100": (0.15, math.inf)}
"""Foreground ratios in percent, and the shares they hold: from the first on, below the second. Each image is in one."""
METHODS = {"input_": "Input composite", "coarse_": "Coarse", "": "Refined"}
"""What a row may have scores of, by the prefix of their names."""

Summary = dict[str, Any]
Intervals = dict[str, dict[str, dict[str, Interval]]]
"""By ``subsets`` and ``ratios``, by group, by score."""
PUBLISHED = (
    "† As printed in the paper (Peng et al., AAAI 2024), mostly copied from the methods' own papers, whose evaluators differ; "
    "protocol: that of the method's own evaluator, ? where it is not known. Only lines of one protocol can be compared."
)
WORSE = (
    f"Worse: share of the images whose fMSE is above their composite's, by more than {TOLERANCE:g}; "
    f">10% worse: above {TENTH:g} times that."
)
"""What stands under tables."""
Group = Callable[[Row], bool]
"""Whether a row belongs to it."""


def summarize(rows: Sequence[Row], protocol: str) -> Summary:
    """Means over images, and the shares of those that are worse than their composites.

    Returns:
        ``{"protocol", "images", "photos", "empty_masks": names, "subsets": {name: cell, ..., "All": cell}, "ratios": {"0-5":
        cell, ..., "All": cell}}``; a cell holds ``images``, the mean of each score, and, where rows have the composite's fMSE,
        the shares of :data:`~frih.metrics.HARM`, 0..1. "All" is the mean over all images, not over the groups. An image
        with an empty mask has no fMSE and stays out of that mean and those shares alone. A group of no images is left out.
    """
    rows = with_harm(rows)
    cells = {
        kind: {name: _cell([row for row in rows if belongs(row)]) for name, belongs in parts.items()}
        for kind, parts in groups(rows).items()
    }
    return {
        "protocol": protocol,
        "images": len(rows),
        "photos": len({row.real for row in rows}),
        "empty_masks": [f"{row.subset}/{row.name}" for row in rows if math.isnan(row.scores.get("fmse", math.nan))],
        **{kind: {name: cell for name, cell in parts.items() if cell["images"]} for kind, parts in cells.items()},
    }


def groups(rows: Sequence[Row]) -> dict[str, dict[str, Group]]:
    """The groups of images that have a column: by ``subsets`` and by ``ratios``, "All" at the end of each."""

    def of_subset(subset: str) -> Group:
        return lambda row: row.subset == subset

    def of_ratio(low: float, high: float) -> Group:
        return lambda row: low <= row.fg_ratio < high

    def everything(_: Row) -> bool:
        return True

    subsets = {subset: of_subset(subset) for subset in dict.fromkeys(row.subset for row in rows)}
    ratios = {name: of_ratio(*bounds) for name, bounds in RATIOS.items()}
    return {"subsets": {**subsets, "All": everything}, "ratios": {**ratios, "All": everything}}


def intervals(rows: Sequence[Row]) -> Intervals:
    """The mean and interval of every score in every group, and of the shares of images worse than their composites.

    A group of no images is left out, and so is a score that no image of the group has.
    """
    rows = with_harm(rows)
    scores = list(rows[0].scores) if rows else []
    found: Intervals = {}
    for kind, parts in groups(rows).items():
        found[kind] = {}
        for name, belongs in parts.items():
            cell = {score: bootstrap(rows, score, members=belongs) for score in scores}
            if any(belongs(row) for row in rows):
                found[kind][name] = {score: interval for score, interval in cell.items() if interval.images}
    return found


def tables(summary: Summary, names: Mapping[str, str] = METHODS) -> tuple[Table, Table]:
    """The paper's Tables 1 and 2 of a summary, one line for each method that it has scores of."""
    return comparison({"": summary}, names)


def comparison(summaries: Mapping[str, Summary], names: Mapping[str, str]) -> tuple[Table, Table]:
    """Tables as :func:`tables` makes them of several evaluations, by their names, under each other.

    A group or a score that one of them lacks shows dashes; shares of images made worse that all of them lack have no column. A
    heading counts the images of the largest evaluation. Protocols are a column where they differ.
    """
    return (
        _measured("Sub-dataset", "subsets", summaries, names),
        _measured("Foreground ratio", "ratios", summaries, names),
    )


def beside_published(
    printed: Printed, summaries: Mapping[str, Summary], names: Mapping[str, str] | None = None
) -> Table:
    """A table of the paper, and measured lines under its printed ones.

    Args:
        printed: one of :mod:`frih.evaluation.published`.
        summaries: evaluations by their names.
        names: which of their methods to show, by the prefix of the scores, and what to call them; the final image, under the
            evaluation's name, by default.
    """
    kind = "subsets" if printed.groups == SUBSETS else "ratios"
    lines, protocols, contradictions = [], [], []
    for line in printed.lines:
        cells, differing = _printed_cells(printed, line)
        lines.append([f"{line.method} ({line.source}) †" if line.source else f"{line.method} †", *cells])
        protocols.append(line.protocol or "?")
        contradictions += differing
    notes = [PUBLISHED]
    if contradictions:
        notes.append(f"‡ Printed so; the mean over the test split's images is {', '.join(contradictions)}.")
    for label, summary, prefix in _systems(summaries, names or {"": ""}):
        groups = [summary[kind].get(group, {}) for group in printed.groups]
        lines.append([label, *(_figure(cell, prefix, metric) for cell in groups for metric in printed.metrics)])
        protocols.append(summary["protocol"])
    notes += [
        f"{name or 'Measured'}: {summary['images']} images; the test split has {sum(COUNTS.values())}."
        for name, summary in summaries.items()
        if summary["images"] != sum(COUNTS.values())
    ]
    return Table(
        printed.corner,
        [_percent(group) for group in printed.groups],
        [],
        lines,
        printed.metrics,
        f"The paper's Table {printed.number}: {printed.caption}",
        len(printed.lines),
        protocols,
        tuple(notes),
    )


def cutoffs(summaries: Mapping[float, Summary]) -> Table:
    """The paper's Table 5, d_c, with evaluations of networks trained with some of its values."""
    measured = [summaries.get(cutoff, {}).get("subsets", {}).get("All", {}) for cutoff in TABLE_5]
    protocols = ", ".join(sorted({summary["protocol"] for summary in summaries.values()}))
    lines = [
        [f"{METRICS[metric]} †", *(f"{line[place]:.2f}" for line in TABLE_5.values())]
        for place, metric in enumerate(("mse", "psnr"))
    ]
    if summaries:
        lines += [[METRICS[metric], *(_figure(cell, "", metric) for cell in measured)] for metric in ("mse", "psnr")]
    return Table(
        "d_c",
        [f"{cutoff:g}" for cutoff in TABLE_5],
        [],
        lines,
        (),
        "The paper's Table 5: comparative experiment for d_c",
        2,
        ["?", "?", *[protocols] * (len(lines) - 2)],
        (PUBLISHED,),
    )


def efficiency(measured: Mapping[str, tuple[float | None, float, str]]) -> Table:
    """The paper's Table 6: quality and size.

    Args:
        measured: by method: PSNR over all images, if it is known, millions of parameters, and the PSNR's protocol.
    """
    ours = {
        f"{method} ({protocol})" if protocol else method: (psnr, millions)
        for method, (psnr, millions, protocol) in measured.items()
    }
    everyone: dict[str, tuple[float | None, float]] = {
        **{f"{method} †": figures for method, figures in TABLE_6.items()},
        **ours,
    }
    return Table(
        "",
        list(everyone),
        [],
        [
            ["PSNR↑", *(figure("psnr", psnr) for psnr, _ in everyone.values())],
            ["Param (M)↓", *(f"{millions:.2f}" for _, millions in everyone.values())],
        ],
        (),
        "The paper's Table 6: performance and efficiency",
        notes=(
            PUBLISHED,
            *["In brackets: the protocol of a measured PSNR."] * any(one[2] for one in measured.values()),
        ),
    )


def interval_tables(found: Mapping[str, Intervals], names: Mapping[str, str]) -> list[Table]:
    """Each mean with its interval, by subset and by foreground ratio.

    Args:
        found: what :func:`intervals` found, by the evaluation's name.
        names: methods by the prefix of their scores.
    """
    corners = {"subsets": "Sub-dataset", "ratios": "Foreground ratio"}
    return [_interval_table(corner, kind, found, names) for kind, corner in corners.items()]


def _measured(corner: str, kind: str, summaries: Mapping[str, Summary], names: Mapping[str, str]) -> Table:
    groups = list(dict.fromkeys(group for summary in summaries.values() for group in summary[kind] if group != "All"))
    if kind == "ratios":
        groups = [group for group in RATIOS if group in groups]
    groups.append("All")
    sizes = [max(summary[kind].get(group, {}).get("images", 0) for summary in summaries.values()) for group in groups]
    systems = list(_systems(summaries, names))
    several = len({summary["protocol"] for summary in summaries.values()}) > 1
    judged = any(prefix + score in summary["subsets"]["All"] for _, summary, prefix in systems for score in HARM)
    scores = MAIN if judged else tuple(METRICS)
    return Table(
        corner,
        [_percent(group) for group in groups],
        sizes,
        [
            [label, *(_figure(summary[kind].get(group, {}), prefix, metric) for group in groups for metric in scores)]
            for label, summary, prefix in systems
        ],
        scores,
        protocols=[summary["protocol"] for _, summary, _ in systems] if several else [],
        notes=(WORSE,) if judged and kind == "subsets" else (),
    )


def _systems(summaries: Mapping[str, Summary], names: Mapping[str, str]) -> Iterator[tuple[str, Summary, str]]:
    """What has scores: how to call it, its summary, the prefix of its scores."""
    for name, summary in summaries.items():
        for prefix, method in names.items():
            if f"{prefix}mse" in summary["subsets"]["All"]:
                yield ", ".join(filter(None, (name, method))), summary, prefix


def _printed_cells(printed: Printed, line: Line) -> tuple[list[str], list[str]]:
    """A line's figures, marked where they contradict themselves, and what they should be."""
    cells = [figure("", value) for value in line.figures]
    contradictions = []
    for metric, mean in printed.recomputed(line).items():
        place = len(cells) - len(printed.metrics) + printed.metrics.index(metric)
        contradictions.append(f"{mean:.2f} for {line.method}'s {heading(metric).rstrip('↓↑')} {cells[place]}")
        cells[place] += "‡"
    return cells, contradictions


def _interval_table(corner: str, kind: str, found: Mapping[str, Intervals], names: Mapping[str, str]) -> Table:
    scores = [
        name
        for name in (*metrics.METRICS, *HARM)
        if any(name in cell for one in found.values() for cell in one[kind].values())
    ]
    lines = []
    for group in dict.fromkeys(group for one in found.values() for group in one[kind]):
        for system, one in found.items():
            cell = one[kind].get(group, {})
            for prefix, method in names.items():
                shown = [cell.get(prefix + score) for score in scores]
                if any(shown):
                    sizes = [
                        str(max(getattr(known, part) for known in shown if known)) for part in ("images", "photos")
                    ]
                    label = ", ".join(filter(None, (_percent(group), system, method)))
                    lines.append([label, *sizes, *map(with_interval, scores, shown)])
    return Table(corner, ["images", "photos", *map(heading, scores)], [], lines, (), "Means and intervals")


def with_interval(score: str, found: Interval | Difference | None, *, signed: bool = False) -> str:
    """A mean and its interval as tables print them."""
    if found is None or math.isnan(found.mean):
        return "-"
    mean, low, high = (figure(score, value) for value in found[:3])
    if signed:
        mean, low, high = (text if text[0] == "-" else f"+{text}" for text in (mean, low, high))
    return f"{mean} [{low}, {high}]" if not math.isnan(found.low) else mean


def _figure(cell: Mapping[str, float], prefix: str, metric: str) -> str:
    return figure(metric, cell.get(prefix + metric))


def _percent(group: str) -> str:
    return f"{group}%" if group in RATIOS else group


def _cell(rows: Sequence[Row]) -> dict[str, float]:
    """How many images, and the mean of each score over those that have it."""
    cell: dict[str, float] = {"images": len(rows)}
    for name in rows[0].scores if rows else ():
        known = [row.scores[name] for row in rows if not math.isnan(row.scores[name])]
        if known:
            cell[name] = math.fsum(known) / len(known)
    return cell
