"""The tables of ablations from measured rows: the paper's layout, intervals, paired differences, and each seed's order.

With several seeds, an image's figure is its mean over the seeds, and intervals are over real photos
(:mod:`frih.evaluation.statistics`). The order of the rows is given for each seed.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from frih.common.columns import wrapped
from frih.evaluation.layout import Table, figure, fitted, heading, markdown_text
from frih.evaluation.published import SUBSETS, TABLE_3, TABLE_4, TABLE_5, Printed
from frih.evaluation.statistics import INTERVALS, Difference, bootstrap, match, paired
from frih.evaluation.tables import INPUT, WORSE, Summary, beside_published, cutoffs, summarize, with_interval
from frih.evaluation.write import finite
from frih.metrics import HARM, METRICS, PROTOCOLS, Row, with_harm
from frih.tools.experiments.ablations import CLAIMS, TABLES
from frih.tools.report.comparison import input_rows

PRINTED: Mapping[str, Printed] = {"3": TABLE_3, "4": TABLE_4}
SCORES = ("psnr", "mse", "fmse")
"""Scores with paired differences."""
MEANS = (*SCORES, *HARM)
"""Scores with means. With several seeds an image's ``worse`` is the share of the seeds that made it worse."""
SEEDS = "Order in each seed, the best last"
TITLES = {
    "separate": "Stages trained apart and together",
    "divisions": "FRIH with other divisions of the foreground",
    "loss": "Refine loss by equation 8 and with equal pixels",
}
"""Titles of tables that the paper does not have."""
AGAINST = {
    "5": ("d_c = 0.1",),
    "divisions": ("Whole mask", "Density peaks (d_c = 0.1), FRIH"),
}
"""Rows with which all others of a table are compared."""
PAIRS = {
    "loss": (
        ("Globalmask (refine loss x 8)", "Globalmask"),
        ("Submask (equation 8)", "Globalmask"),
        ("Submask (equation 8)", "Globalmask (refine loss x 8)"),
        ("Submask (equal pixels)", "Globalmask"),
        ("Submask (equal pixels)", "Submask (equation 8)"),
        ("FRIH (equation 8)", "Globalmask"),
        ("FRIH (equation 8)", "Globalmask (refine loss x 8)"),
        ("FRIH (equal pixels)", "Globalmask"),
        ("FRIH (equal pixels)", "FRIH (equation 8)"),
    ),
}
"""The comparisons of a table. Without an entry here or in :data:`AGAINST`: with the first row and with the row before."""
ORDERED_BY = ("psnr", "fmse")
"""The Baseline predicts the background too, and the others keep the composite's; fMSE is not affected by that."""

Evaluations = Mapping[str, Mapping[int, Sequence[Row]]]
"""Rows, one an image, by the ablation's name and seed."""


class Measured(NamedTuple):
    """A row of a table that has been evaluated."""

    title: str
    seeds: Mapping[int, Sequence[Row]]
    rows: list[Row]
    """Means over the seeds."""


class Rendered(NamedTuple):
    """A table in all formats."""

    markdown: str
    latex: str
    csv: list[list[str]]
    """The means in the paper's layout alone."""
    figures: dict[str, Any]
    """For JSON."""
    text: str
    """What fits the console."""


def render(table: str, evaluations: Evaluations, protocol: str, benchmark: str = "") -> Rendered:
    """A table with its intervals, differences and orders.

    Args:
        table: its name in :data:`frih.tools.experiments.ablations.TABLES`.
        evaluations: the rows so far, all of the same images.
        protocol: of the evaluations.
        benchmark: the name of the data set, if it is not the test split of the training's.

    Raises:
        UserError: two evaluations are of different images.
    """
    title = f"{_name(table)} on {benchmark}" if benchmark else _name(table)
    measured = [
        Measured(row.title, seeds, mean_over_seeds(list(seeds.values())))
        for row in TABLES[table]
        if (seeds := {seed: with_harm(rows) for seed, rows in evaluations.get(row.name, {}).items()})
    ]
    if not measured:
        nothing = "No row is finished yet."
        figures = {"protocol": protocol, "benchmark": benchmark, "rows": {}}
        return Rendered(f"# {markdown_text(title)}\n\n{nothing}", f"% {nothing}", [], figures, f"{title}\n\n{nothing}")
    lacking = [row.title for row in TABLES[table] if row.name not in evaluations]
    rows = measured[0].rows
    photos = len({row.real for row in rows})
    bold = "Bold: the best of the rows in each column, and all that print the same."
    about = [
        f"{len(rows)} images of {photos} real photos, protocol {protocol}: {PROTOCOLS[protocol].summary}. " + INTERVALS,
        bold,
        *([f"Not finished yet: {', '.join(lacking)}."] if lacking else []),
    ]
    pairs = comparisons(table, measured)
    parts = [
        *layout(table, measured, protocol, title),
        means(measured, title),
        *([paired_table(pairs, published_psnr(table), title)] if pairs else []),
    ]
    orders = seeds_text(table, measured)
    markdown = [f"# {markdown_text(title)}", *about, *(part.markdown() for part in parts)]
    markdown.append("\n".join([f"**{SEEDS}**", "", *orders]))
    plain = [wrapped(line) for line in (title, *about) if line != bold]
    remarks = "\n".join(f"% {line}" for line in (title, *about, r"Needs \usepackage{booktabs}."))
    return Rendered(
        "\n\n".join(markdown),
        "\n\n".join([remarks, *(part.latex() for part in parts)]),
        parts[0].flat(),
        {"protocol": protocol, "benchmark": benchmark, **_as_json(measured, pairs)},
        "\n\n".join([*plain, *fitted(parts), wrapped("\n".join([SEEDS, *orders]))]),
    )


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


def layout(table: str, measured: Sequence[Measured], protocol: str, title: str) -> list[Table]:
    """Means in the paper's layout. Published lines stand in the same table if the data set is the paper's, else in another.

    Table 5 is in Table 3's form; the paper's own form follows.
    """
    summaries = {INPUT: summarize(input_rows(measured[0].rows), protocol)}
    results = {one.title: summarize(one.rows, protocol) for one in measured}
    summaries |= results
    kind, metrics = ("ratios", ("mse", "fmse", *HARM)) if table == "4" else ("subsets", ("mse", "psnr", *HARM))
    printed = PRINTED.get(table)
    groups = list(dict.fromkeys(group for one in summaries.values() for group in one[kind]))
    if printed and tuple(summaries[INPUT]["subsets"]) == SUBSETS:
        return [beside_published(printed, summaries, rivals=results)]
    own = Table(
        "Sub-dataset" if kind == "subsets" else "Foreground ratio",
        groups,
        [int(summaries[INPUT][kind][group]["images"]) for group in groups],
        [[name, *_figures(one, kind, groups, metrics)] for name, one in summaries.items()],
        metrics,
        f"{title}, measured" if printed or table == "5" else title,
        notes=(WORSE,),
        contests=(tuple(range(1, len(summaries))),),
        brief=metrics[:2],
    )
    if table == "5":
        return [own, cutoffs({float(name.removeprefix("d_c = ")): one for name, one in results.items()})]
    return [own, beside_published(printed, {})] if printed else [own]


def means(measured: Sequence[Measured], title: str) -> Table:
    """Means over all images, with intervals, of the composites and of each row."""

    def cells(rows: Sequence[Row]) -> list[str]:
        return [with_interval(score, bootstrap(rows, score)) for score in MEANS]

    lines = [[INPUT, *cells(input_rows(measured[0].rows)), "-", "-"]]
    for one in measured:
        by_seed = [_mean(rows, "psnr") for rows in one.seeds.values()]
        spread = f"{statistics.stdev(by_seed):.2f}" if len(by_seed) > 1 else "-"
        lines.append([one.title, *cells(one.rows), str(len(by_seed)), spread])
    groups = [*map(heading, MEANS), "seeds", "deviation of their PSNR"]
    contest = tuple(range(1, len(lines)))
    return Table(
        "All images", groups, [], lines, (), f"{title}: means and intervals", notes=(WORSE,), contests=(contest,)
    )


def comparisons(table: str, measured: Sequence[Measured]) -> list[tuple[str, str, dict[str, Difference]]]:
    """Paired differences (row, other row, by score)."""
    by_title = {one.title: one for one in measured}
    titles = [row.title for row in TABLES[table]]
    wanted: Sequence[tuple[str, str]] = PAIRS.get(
        table, [pair for before, title in pairwise(titles) for pair in ((title, titles[0]), (title, before))]
    )
    if table in AGAINST:
        wanted = [(title, other) for other in AGAINST[table] for title in titles if title != other]
    return [
        (title, other, {score: _difference(by_title[title], by_title[other], score) for score in SCORES})
        for title, other in dict.fromkeys(wanted)
        if title in by_title and other in by_title
    ]


def paired_table(
    pairs: Sequence[tuple[str, str, dict[str, Difference]]], published: Mapping[str, float], title: str
) -> Table:
    """The differences, the shares of images on which the first row is better, and the paper's differences."""
    groups = [heading for score in SCORES for heading in (f"Δ {METRICS[score].label}", "wins")]
    groups += ["Δ PSNR↑ in the paper"] * bool(published)
    lines = [
        [
            f"{one}, against {other}",
            *(
                cell
                for score in SCORES
                for cell in (with_interval(score, found[score], signed=True), _percent(found[score].wins))
            ),
            *([f"{published[one] - published[other]:+.2f}"] if published else []),
        ]
        for one, other, found in pairs
    ]
    note = "A difference is the first less the second, image by image; wins: images on which the first is better, ties half."
    return Table("first, against second", groups, [], lines, (), f"{title}: paired differences", notes=(note,))


def seeds_text(table: str, measured: Sequence[Measured]) -> list[str]:
    """The order of the rows in each seed, from worst to best, and the number of seeds in which it is the paper's."""
    expected = [title for title in published_order(table) if title in {one.title for one in measured}]
    lines = []
    for score in ORDERED_BY:
        orders = {}
        for seed in sorted({seed for one in measured for seed in one.seeds}):
            figures = {one.title: _mean(one.seeds[seed], score) for one in measured if seed in one.seeds}
            orders[seed] = sorted(figures, key=figures.__getitem__, reverse=METRICS[score].better == "lower")
            shown = " → ".join(f"{title} ({figures[title]:.2f})" for title in orders[seed])
            lines.append(f"- {METRICS[score].label}, seed {seed}: {shown}")
        whole = [order for order in orders.values() if len(order) == len(expected)]
        if len(expected) > 1 and whole and table in CLAIMS:
            claim = "what the paper claims" if table == "separate" else "the paper's order"
            lines.append(f"- {METRICS[score].label}: {claim} in {whole.count(expected)} of {len(whole)} seeds")
    return lines


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
    return TITLES.get(table, f"Table {table}")


def _as_json(measured: Sequence[Measured], pairs: Sequence[tuple[str, str, dict[str, Difference]]]) -> dict[str, Any]:
    return {
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
