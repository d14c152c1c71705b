"""The tables of the paper's ablations from measured rows: its layout, intervals, paired differences, and each seed's order.

With several seeds, an image's figure is its mean over the seeds, and intervals are over real photos
(:mod:`frih.evaluation.statistics`). The order of the rows is given for each seed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from frih.evaluation.layout import Table, figure, heading
from frih.evaluation.published import SUBSETS, TABLE_3, TABLE_4, TABLE_5, Printed
from frih.evaluation.statistics import INTERVALS, Difference, bootstrap, match, paired
from frih.evaluation.tables import WORSE, Summary, beside_published, cutoffs, summarize, with_interval
from frih.evaluation.write import finite
from frih.metrics import HARM, METRICS, PROTOCOLS, Row, with_harm
from frih.tools.experiments.ablations import TABLES
from frih.tools.report.comparison import input_rows

PRINTED: Mapping[str, Printed] = {"3": TABLE_3, "4": TABLE_4}
SCORES = ("psnr", "mse", "fmse")
"""Scores with paired differences."""
MEANS = (*SCORES, *HARM)
"""Scores with means. With several seeds an image's ``worse`` is the share of the seeds that made it worse."""
ORDERED_BY = ("psnr", "fmse")
"""The Baseline predicts the background too, and the others keep the composite's; fMSE is not affected by that."""

Evaluations = Mapping[str, Mapping[int, Sequence[Row]]]
"""Rows, one an image, by recipe and seed."""


class Measured(NamedTuple):
    """A row of a table that has been evaluated."""

    title: str
    seeds: Mapping[int, Sequence[Row]]
    rows: list[Row]
    """Means over the seeds."""


def render(table: str, evaluations: Evaluations, protocol: str) -> tuple[str, dict[str, Any]]:
    """A table with its intervals, differences and orders.

    Args:
        table: its name in :data:`frih.tools.experiments.ablations.TABLES`.
        evaluations: the rows so far, all of the same images.
        protocol: of the evaluations.

    Returns:
        Markdown, and the figures for JSON.

    Raises:
        UserError: two evaluations are of different images.
    """
    measured = [
        Measured(row.title, seeds, mean_over_seeds(list(seeds.values())))
        for row in TABLES[table]
        if (seeds := {seed: with_harm(rows) for seed, rows in evaluations.get(row.recipe, {}).items()})
    ]
    if not measured:
        return f"# {_name(table)}\n\nNo row is finished yet.", {"protocol": protocol, "rows": {}}
    lacking = [row.title for row in TABLES[table] if row.recipe not in evaluations]
    rows = measured[0].rows
    photos = len({row.real for row in rows})
    heading = [
        f"# {_name(table)}",
        f"{len(rows)} images of {photos} real photos, protocol {protocol}: {PROTOCOLS[protocol].summary}. " + INTERVALS,
        *([f"Not finished yet: {', '.join(lacking)}."] if lacking else []),
    ]
    pairs = comparisons(table, measured)
    parts = [
        *layout(table, measured, protocol),
        means(measured),
        *([paired_table(pairs, published_psnr(table))] if pairs else []),
    ]
    text = [*heading, *(part.markdown() for part in parts), seeds_text(table, measured)]
    return "\n\n".join(text), _as_json(protocol, measured, pairs)


def mean_over_seeds(evaluations: Sequence[Sequence[Row]]) -> list[Row]:
    """One row an image with the means of the seeds' scores; NaN where a seed lacks the score."""
    first, *others = evaluations
    columns = [list(first), *(match(first, other) for other in others)]
    return [
        same[0]._replace(
            scores={name: statistics.fmean(row.scores.get(name, math.nan) for row in same) for name in same[0].scores}
        )
        for same in zip(*columns, strict=True)
    ]


def layout(table: str, measured: Sequence[Measured], protocol: str) -> list[Table]:
    """Means in the paper's layout. Published lines stand in the same table if the data set is the paper's, else in another."""
    summaries = {"Input composite": summarize(input_rows(measured[0].rows), protocol)}
    summaries |= {one.title: summarize(one.rows, protocol) for one in measured}
    if table == "5":
        return [cutoffs({float(title.removeprefix("d_c = ")): one for title, one in summaries.items() if "=" in title})]
    kind, metrics = ("ratios", ("mse", "fmse", *HARM)) if table == "4" else ("subsets", ("mse", "psnr", *HARM))
    printed = PRINTED.get(table)
    groups = list(dict.fromkeys(group for one in summaries.values() for group in one[kind]))
    if printed and tuple(summaries["Input composite"]["subsets"]) == SUBSETS:
        return [beside_published(printed, summaries)]
    own = Table(
        "Sub-dataset" if kind == "subsets" else "Foreground ratio",
        groups,
        [int(summaries["Input composite"][kind][group]["images"]) for group in groups],
        [[title, *_figures(one, kind, groups, metrics)] for title, one in summaries.items()],
        metrics,
        f"{_name(table)}, measured",
        notes=(WORSE,),
    )
    return [own, beside_published(printed, {})] if printed else [own]


def means(measured: Sequence[Measured]) -> Table:
    """Means over all images, with intervals, of the composites and of each row."""

    def cells(rows: Sequence[Row]) -> list[str]:
        return [with_interval(score, bootstrap(rows, score)) for score in MEANS]

    lines = [["Input composite", *cells(input_rows(measured[0].rows)), "-", "-"]]
    for one in measured:
        by_seed = [_mean(rows, "psnr") for rows in one.seeds.values()]
        spread = f"{statistics.stdev(by_seed):.2f}" if len(by_seed) > 1 else "-"
        lines.append([one.title, *cells(one.rows), str(len(by_seed)), spread])
    groups = [*map(heading, MEANS), "seeds", "deviation of their PSNR"]
    return Table("All images", groups, [], lines, (), "Means and intervals", notes=(WORSE,))


def comparisons(table: str, measured: Sequence[Measured]) -> list[tuple[str, str, dict[str, Difference]]]:
    """Paired differences (row, other row, by score) to the first row and to the row before; in Table 5 to d_c = 0.1."""
    by_title = {one.title: one for one in measured}
    titles = [row.title for row in TABLES[table]]
    wanted = [pair for before, title in pairwise(titles) for pair in ((title, titles[0]), (title, before))]
    if table == "5":
        wanted = [(title, "d_c = 0.1") for title in titles if title != "d_c = 0.1"]
    return [
        (title, other, {score: _difference(by_title[title], by_title[other], score) for score in SCORES})
        for title, other in dict.fromkeys(wanted)
        if title in by_title and other in by_title
    ]


def paired_table(pairs: Sequence[tuple[str, str, dict[str, Difference]]], published: Mapping[str, float]) -> Table:
    """The differences, the shares of images on which the first row is better, and the paper's differences."""
    groups = [heading for score in SCORES for heading in (f"Δ {METRICS[score].label}", "wins")]
    lines = [
        [
            f"{title}, against {other}",
            *(
                cell
                for score in SCORES
                for cell in (with_interval(score, found[score], signed=True), _percent(found[score].wins))
            ),
            f"{published[title] - published[other]:+.2f}" if published else "-",
        ]
        for title, other, found in pairs
    ]
    note = "A difference is the first row less the second; wins: images on which the first is better, ties half."
    title = "Paired differences, image by image"
    return Table("first, against second", [*groups, "Δ PSNR↑ in the paper"], [], lines, (), title, notes=(note,))


def seeds_text(table: str, measured: Sequence[Measured]) -> str:
    """The order of the rows in each seed, from worst to best, and the number of seeds in which it is the paper's."""
    expected = [title for title in published_order(table) if title in {one.title for one in measured}]
    lines = []
    for score in ORDERED_BY:
        orders = {}
        for seed in sorted({seed for one in measured for seed in one.seeds}):
            figures = {one.title: _mean(one.seeds[seed], score) for one in measured if seed in one.seeds}
            orders[seed] = sorted(figures, key=figures.__getitem__, reverse=METRICS[score].better == "lower")
            shown = " → ".join(f"{title} {figures[title]:.2f}" for title in orders[seed])
            lines.append(f"- {METRICS[score].label}, seed {seed}: {shown}")
        whole = [order for order in orders.values() if len(order) == len(expected)]
        if len(expected) > 1 and whole:
            claim = "what the paper claims" if table == "separate" else "the paper's order"
            lines.append(f"- {METRICS[score].label}: {claim} in {whole.count(expected)} of {len(whole)} seeds")
    return "\n".join(["**Order in each seed, the best last**", "", *lines])


def published_psnr(table: str) -> dict[str, float]:
    """The paper's PSNR on all of iHarmony4, by title, for tables that it has."""
    if table == "5":
        return {f"d_c = {cutoff}": psnr for cutoff, (_, psnr) in TABLE_5.items()}
    return {line.method: line.figures[-1] or math.nan for line in TABLE_3.lines} if table in PRINTED else {}


def published_order(table: str) -> list[str]:
    """Titles from the lowest published PSNR to the highest."""
    published = published_psnr(table)
    return sorted((row.title for row in TABLES[table]), key=lambda title: published.get(title, 0))


def _difference(one: Measured, other: Measured, score: str) -> Difference:
    """The difference over the seeds that both rows have."""
    seeds = one.seeds.keys() & other.seeds.keys() or None
    rows, others = (
        mean_over_seeds([rows for seed, rows in each.seeds.items() if seeds is None or seed in seeds])
        for each in (one, other)
    )
    return paired(rows, others, score, higher_is_better=METRICS[score].better == "higher")


def _mean(rows: Sequence[Row], score: str) -> float:
    """The mean over the images that have the score; NaN if none has."""
    known = [value for row in rows if not math.isnan(value := row.scores.get(score, math.nan))]
    return statistics.fmean(known) if known else math.nan


def _figures(summary: Summary, kind: str, groups: Sequence[str], metrics: Sequence[str]) -> list[str]:
    return [figure(metric, summary[kind].get(group, {}).get(metric)) for group in groups for metric in metrics]


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def _name(table: str) -> str:
    return "Stages trained apart and together" if table == "separate" else f"Table {table}"


def _as_json(
    protocol: str, measured: Sequence[Measured], pairs: Sequence[tuple[str, str, dict[str, Difference]]]
) -> dict[str, Any]:
    return {
        "protocol": protocol,
        "rows": {
            one.title: {
                "by_seed": {
                    str(seed): finite({score: _mean(rows, score) for score in MEANS})
                    for seed, rows in one.seeds.items()
                },
                **{score: finite(bootstrap(one.rows, score)._asdict()) for score in MEANS},
            }
            for one in measured
        },
        "differences": [
            {"first": title, "second": other, **{score: finite(one._asdict()) for score, one in found.items()}}
            for title, other, found in pairs
        ],
    }
