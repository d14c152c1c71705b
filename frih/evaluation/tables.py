"""From rows to the paper's tables: by subset (Table 1), by foreground ratio (Table 2), and the others."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from frih.evaluation.layout import MAIN, Table, figure, heading
from frih.evaluation.published import COUNTS, SUBSETS, TABLE_1, TABLE_2, TABLE_5, TABLE_6, Line, Printed
from frih.evaluation.statistics import Difference, Group, Interval, bootstrap
from frih.metrics import HARM, METRICS, PAPER, Row, with_harm
from frih.metrics.harm import TENTH, TOLERANCE

RATIOS = {"0-5": (0.0, 0.05), "5-15": (0.05, 0.15), "15-100": (0.15, math.inf)}
"""Foreground ratios in percent, and their bounds as shares: from the first on, below the second."""
INPUT = "Input composite"
"""The name of the composites as they are."""

Summary = dict[str, Any]
Intervals = dict[str, dict[str, dict[str, Interval]]]
"""By ``subsets`` and ``ratios``, by group, by score."""
PUBLISHED = (
    "† As printed in the paper (Peng et al., AAAI 2024), mostly copied from the methods' own papers, whose evaluators differ; "
    "protocol: that of the method's own evaluator, ? where it is not known. Only lines of one protocol can be compared."
)
BEST = "Bold: the best of each column, without the composites as they are; all that print the same."
"""The note under tables with figures in bold."""
WORSE = (
    f"Worse: share of the images whose fMSE is above their composite's, by more than {TOLERANCE:g}; "
    f">10% worse: above {TENTH:g} times that."
)
"""The note under tables with such shares."""


def methods(name: str = "FRIH") -> dict[str, str]:
    """What a row may have scores of, by the prefix of their names, as tables name it; ``name`` is the system's."""
    return {"input_": INPUT, "coarse_": f"{name}, coarse", "": name}


def summarize(rows: Sequence[Row], protocol: str) -> Summary:
    """Means over images, and the shares of images that are worse than their composites.

    Returns:
        ``{"protocol", "images", "photos", "empty_masks": names, "subsets": {name: cell, ..., "All": cell}, "ratios": {"0-5":
        cell, ..., "All": cell}}``. A cell holds ``images``, the mean of each score, and, where rows have the composite's fMSE,
        the shares of :data:`~frih.metrics.HARM`, 0..1. "All" is the mean over all images, not over the groups. An image
        with an empty mask has no fMSE and is left out of that mean and of those shares only. Empty groups are left out.
    """
    rows = with_harm(rows)
    return {
        "protocol": protocol,
        "images": len(rows),
        "photos": len({row.real for row in rows}),
        "empty_masks": [f"{row.subset}/{row.name}" for row in rows if math.isnan(row.scores.get("fmse", math.nan))],
        **{
            kind: {name: _cell(part) for name, belongs in parts.items() if (part := list(filter(belongs, rows)))}
            for kind, parts in groups(rows).items()
        },
    }


def groups(rows: Sequence[Row]) -> dict[str, dict[str, Group]]:
    """The groups of images that have a column: by ``subsets`` and by ``ratios``, each with "All" at the end."""

    def of_subset(subset: str) -> Group:
        return lambda row: row.subset == subset

    def of_ratio(low: float, high: float) -> Group:
        return lambda row: low <= row.fg_ratio < high

    subsets = {subset: of_subset(subset) for subset in dict.fromkeys(row.subset for row in rows)}
    ratios = {name: of_ratio(*bounds) for name, bounds in RATIOS.items()}
    return {kind: {**parts, "All": lambda _: True} for kind, parts in (("subsets", subsets), ("ratios", ratios))}


def intervals(rows: Sequence[Row]) -> Intervals:
    """The mean and interval of every score in every group, and of the shares of images worse than their composites.

    Groups without images are left out, and so are scores that no image of a group has.
    """
    rows = with_harm(rows)
    scores = list(rows[0].scores) if rows else []
    return {
        kind: {
            name: {score: found for score in scores if (found := bootstrap(rows, score, members=belongs)).images}
            for name, belongs in parts.items()
            if any(map(belongs, rows))
        }
        for kind, parts in groups(rows).items()
    }


def comparison(
    summaries: Mapping[str, Summary], names: Mapping[str, str] | None = None, rivals: Collection[str] = ()
) -> tuple[Table, Table]:
    """The paper's Tables 1 and 2 of one or several evaluations, by their names; a line for each method.

    A group or a score that one of them lacks shows dashes. Shares of images made worse that all of them lack have no column. A
    heading counts the images of the largest evaluation. Protocols are a column where they differ. The best figure of each
    column among those of ``rivals``, evaluations that were made alike, is bold; composites as they are do not take part.
    """
    names = names or methods()
    return (
        _measured("Sub-dataset", "subsets", summaries, names, rivals),
        _measured("Foreground ratio", "ratios", summaries, names, rivals),
    )


def beside_published(
    printed: Printed,
    summaries: Mapping[str, Summary],
    names: Mapping[str, str] | None = None,
    rivals: Collection[str] = (),
) -> Table:
    """A table of the paper, with measured lines under its printed ones.

    Args:
        printed: one of :mod:`frih.evaluation.published`.
        summaries: evaluations by their names.
        names: the methods to show, by the prefix of their scores; by default only the final image, by the evaluation's name.
        rivals: as in :func:`comparison`.
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
    systems = list(_systems(summaries, names or {"": ""}))
    for one in systems:
        lines.append([one.label, *_figures(one.summary[kind], printed.groups, one.prefix, printed.metrics)])
        protocols.append(one.summary["protocol"])
    total = sum(COUNTS.values())
    notes += [
        f"{name or 'Measured'}: {summary['images']} images; the test split has {total}."
        for name, summary in summaries.items()
        if summary["images"] != total
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
        (_contest(systems, rivals, len(printed.lines)),),
    )


def cutoffs(summaries: Mapping[float, Summary]) -> Table:
    """The paper's Table 5, d_c, with evaluations of networks trained with some of its values."""
    cells = {f"{cutoff:g}": summaries[cutoff]["subsets"]["All"] for cutoff in TABLE_5 if cutoff in summaries}
    protocols = ", ".join(sorted({summary["protocol"] for summary in summaries.values()}))
    shown = ("mse", "psnr")
    columns = [f"{cutoff:g}" for cutoff in TABLE_5]
    printed = [
        [f"{heading(metric)} †", *(f"{line[i]:.2f}" for line in TABLE_5.values())] for i, metric in enumerate(shown)
    ]
    measured = [[heading(metric), *_figures(cells, columns, "", (metric,))] for metric in shown if summaries]
    return Table(
        "d_c",
        columns,
        [],
        [*printed, *measured],
        (),
        "The paper's Table 5: comparative experiment for d_c",
        len(printed),
        ["?"] * len(printed) + [protocols] * len(measured),
        (PUBLISHED,),
    )


def efficiency(measured: Mapping[str, tuple[float | None, float, str]]) -> Table:
    """The paper's Table 6: quality and size.

    Args:
        measured: by method: PSNR over all images, if it is known, millions of parameters, and the PSNR's protocol.
    """
    columns: dict[str, tuple[float | None, float]] = {f"{method} †": cells for method, cells in TABLE_6.items()}
    for method, (psnr, millions, protocol) in measured.items():
        columns[f"{method} ({protocol})" if protocol else method] = psnr, millions
    named = any(protocol for _, _, protocol in measured.values())
    return Table(
        "",
        list(columns),
        [],
        [
            ["PSNR↑", *(figure("psnr", psnr) for psnr, _ in columns.values())],
            ["Param (M)↓", *(f"{millions:.2f}" for _, millions in columns.values())],
        ],
        (),
        "The paper's Table 6: performance and efficiency",
        notes=(PUBLISHED, *["In brackets: the protocol of a measured PSNR."] * named),
    )


def interval_tables(
    found: Mapping[str, Intervals], names: Mapping[str, str], rivals: Collection[str] = ()
) -> list[Table]:
    """Each mean with its interval, by subset and by foreground ratio.

    Args:
        found: the result of :func:`intervals`, by the evaluation's name.
        names: methods by the prefix of their scores.
        rivals: as in :func:`comparison`; they compete in each group.
    """
    corners = {"subsets": "Sub-dataset", "ratios": "Foreground ratio"}
    return [_interval_table(corner, kind, found, names, rivals) for kind, corner in corners.items()]


def with_interval(score: str, found: Interval | Difference | None, *, signed: bool = False) -> str:
    """A mean and its interval as tables print them."""
    if found is None or math.isnan(found.mean):
        return "-"
    mean, low, high = (figure(score, value) for value in found[:3])
    if signed:
        mean, low, high = (text if text[0] == "-" else f"+{text}" for text in (mean, low, high))
    return f"{mean} [{low}, {high}]" if not math.isnan(found.low) else mean


class _System(NamedTuple):
    """Something that has scores."""

    evaluation: str
    label: str
    summary: Summary
    prefix: str
    """Of the names of its scores."""


def _measured(
    corner: str, kind: str, summaries: Mapping[str, Summary], names: Mapping[str, str], rivals: Collection[str]
) -> Table:
    parts = list(dict.fromkeys(group for summary in summaries.values() for group in summary[kind] if group != "All"))
    if kind == "ratios":
        parts = [group for group in RATIOS if group in parts]
    parts.append("All")
    systems = list(_systems(summaries, names))
    several = len({summary["protocol"] for summary in summaries.values()}) > 1
    judged = any(one.prefix + score in one.summary["subsets"]["All"] for one in systems for score in HARM)
    scores = MAIN if judged else PAPER
    return Table(
        corner,
        [_percent(group) for group in parts],
        [max(summary[kind].get(group, {}).get("images", 0) for summary in summaries.values()) for group in parts],
        [[one.label, *_figures(one.summary[kind], parts, one.prefix, scores)] for one in systems],
        scores,
        protocols=[one.summary["protocol"] for one in systems] if several else [],
        notes=(WORSE,) if judged and kind == "subsets" else (),
        contests=(_contest(systems, rivals),),
        brief=(TABLE_1 if kind == "subsets" else TABLE_2).metrics,
    )


def _systems(summaries: Mapping[str, Summary], names: Mapping[str, str]) -> Iterator[_System]:
    """Everything that has scores."""
    for name, summary in summaries.items():
        for prefix, method in names.items():
            if f"{prefix}mse" in summary["subsets"]["All"]:
                yield _System(name, _label(name, method), summary, prefix)


def _contest(systems: Sequence[_System], rivals: Collection[str], above: int = 0) -> tuple[int, ...]:
    """The numbers of the rivals' lines, but of the composites as they are, where so many other lines stand above."""
    return tuple(above + i for i, one in enumerate(systems) if one.evaluation in rivals and one.prefix != "input_")


def _figures(
    cells: Mapping[str, Mapping[str, float]], parts: Sequence[str], prefix: str, scores: Sequence[str]
) -> list[str]:
    """One line's figures, group by group; a dash where there is none."""
    return [figure(score, cells.get(group, {}).get(prefix + score)) for group in parts for score in scores]


def _printed_cells(printed: Printed, line: Line) -> tuple[list[str], list[str]]:
    """A line's figures, marked where they contradict themselves, and the correct means."""
    cells = [figure("", value) for value in line.figures]
    contradictions = []
    for metric, mean in printed.recomputed(line).items():
        place = len(cells) - len(printed.metrics) + printed.metrics.index(metric)
        contradictions.append(f"{mean:.2f} for {line.method}'s {heading(metric).rstrip('↓↑')} {cells[place]}")
        cells[place] += "‡"
    return cells, contradictions


def _interval_table(
    corner: str, kind: str, found: Mapping[str, Intervals], names: Mapping[str, str], rivals: Collection[str]
) -> Table:
    known = {score for one in found.values() for cell in one[kind].values() for score in cell}
    scores = [score for score in (*METRICS, *HARM) if score in known]
    lines: list[list[str]] = []
    contests: list[tuple[int, ...]] = []
    for group in dict.fromkeys(group for one in found.values() for group in one[kind]):
        contest: list[int] = []
        for system, one in found.items():
            for prefix, method in names.items():
                shown = [one[kind].get(group, {}).get(prefix + score) for score in scores]
                if known_ones := [interval for interval in shown if interval]:
                    sizes = max(one.images for one in known_ones), max(one.photos for one in known_ones)
                    label = _label(_percent(group), system, method)
                    contest += [len(lines)] if system in rivals and prefix != "input_" else []
                    lines.append([label, *map(str, sizes), *map(with_interval, scores, shown)])
        contests.append(tuple(contest))
    columns = ["images", "photos", *map(heading, scores)]
    return Table(corner, columns, [], lines, (), "Means and intervals", contests=tuple(contests))


def _label(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _percent(group: str) -> str:
    return f"{group}%" if group in RATIOS else group


def _cell(rows: Sequence[Row]) -> dict[str, float]:
    """The number of images, and the mean of each score over the images that have it."""
    cell: dict[str, float] = {"images": len(rows)}
    for name in rows[0].scores:
        known = [row.scores[name] for row in rows if not math.isnan(row.scores[name])]
        if known:
            cell[name] = math.fsum(known) / len(known)
    return cell
