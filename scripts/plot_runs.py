"""Draws figures of one or several runs over their steps, from metrics.jsonl.

    python scripts/plot_runs.py RUN [RUN ...] --out curves.png [--figures train/loss_coarse train/loss_refine] [--log]

Each figure has a panel, and each run a line with a colour and dashes of its own, named by the parts of the folders' paths that
differ. Lines are means of some lines of the log (--smooth), over the faint log itself; those of validation are never smoothed.
A loss that a run does not have, as a Baseline's refine loss, has no line.
"""

import argparse
import statistics
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from frih.common.errors import UserError, did_you_mean, extra, run_command
from frih.common.files import whole_file
from frih.common.paths import path_argument

with extra("train"):
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogFormatter

    from frih.tools.experiments.run_log import read_lines
    from frih.tools.report.comparison import short_names
    from frih.training.logged import Logged

DEFAULT = ("train/loss_coarse", "train/loss_refine", "train/grad_norm")
COLORS = ("#0072b2", "#d55e00", "#009e73", "#aa3377", "#8b6d4b", "#222222", "#e69f00")
"""Seven that colour-blind people can tell apart, all dark enough for a white page."""
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
"""Four, so that 28 runs differ in colour or dashes."""
SHOWN = 60
"""Points of a panel's longest line unless --smooth is given."""
STYLE = {
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#ececec",
    "savefig.facecolor": "white",
    "svg.hashsalt": "frih",
}

Curves = dict[str, list[tuple[float, float]]]
"""Steps and values by the name of a figure; values that were not finite are left out."""


def main() -> int:
    """Reads, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=path_argument, metavar="RUN")
    parser.add_argument("--out", type=path_argument, required=True, metavar="FILE", help="png, svg or pdf")
    parser.add_argument(
        "--figures", nargs="+", metavar="NAME", help=f"default: those there are of {', '.join(DEFAULT)}"
    )
    parser.add_argument("--log", action="store_true", help="a logarithmic scale")
    parser.add_argument(
        "--smooth",
        type=int,
        metavar="N",
        help=f"lines of the log for each point (default: so many that {SHOWN} points remain)",
    )
    args = parser.parse_args()
    if args.smooth is not None and args.smooth < 1:
        raise UserError("--smooth: must be 1 or more")
    runs = {name: read(run) for name, run in short_names(args.runs).items()}
    draw(runs, choose(runs, args.figures), args.smooth, args.log, args.out)
    print(f"written: {args.out}")
    return 0


def choose(runs: dict[str, Curves], asked: list[str] | None) -> list[str]:
    """The figures to draw: those that were asked for, or those of the default that there are."""
    known = sorted({name for curves in runs.values() for name in curves})
    for name in asked or ():
        if name not in known:
            raise UserError(f"--figures: no run has {name}{did_you_mean(name, known)}")
    chosen = asked or [name for name in DEFAULT if name in known]
    if not chosen:
        others = f"; name others, as {', '.join(known[:3])}" if known else ": nothing is logged yet"
        raise UserError(f"--figures: no run has {' or '.join(DEFAULT)}{others}")
    return chosen


@mpl.rc_context(STYLE)  # leaves the settings of other figures alone
def draw(runs: dict[str, Curves], figures: list[str], smooth: int | None, logarithmic: bool, out: Path) -> None:
    """A panel for each figure, three in a row, and the names of the runs below them."""
    mpl.use("Agg")
    columns = min(3, len(figures))
    rows = -(-len(figures) // columns)
    width = max(4 * columns, 6)
    figure, panels = plt.subplots(rows, columns, figsize=(width, 3 * rows), squeeze=False, layout="constrained")
    for panel, name in zip(panels.flat, figures, strict=False):
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("step")
        longest = max(len(curves.get(name, ())) for curves in runs.values())
        count = 1 if name.startswith("val/") else smooth or max(1, longest // SHOWN)
        for curves, style in zip(runs.values(), styles(len(runs)), strict=True):
            if curves.get(name):
                draw_curve(panel, curves[name], count, style)
        if logarithmic:
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter(Plain())
            panel.yaxis.set_minor_formatter(Plain(minor_thresholds=(1.5, 0.5)))
    for panel in panels.flat[len(figures) :]:
        panel.set_axis_off()
    keys = [Line2D([], [], **style) for style in styles(len(runs))]
    room = max(1, round(width * 11 / (max(map(len, runs)) + 8)))  # names in a line, at 11 letters an inch
    figure.legend(keys, list(runs), loc="outside lower left", ncols=room, frameon=False, handlelength=4)
    with whole_file(out) as file:
        figure.savefig(file, format=out.suffix.lstrip(".") or "png", dpi=110)


def styles(count: int) -> Iterator[dict[str, Any]]:
    """A style for each run. The later ones are drawn over the earlier ones, narrower, so that equal lines show all colours."""
    for place, color, dashes in zip(range(count), cycle(COLORS), cycle(DASHES), strict=False):
        yield {"color": color, "linestyle": dashes, "linewidth": 1.1 + 1.2 * (count - 1 - place) / count}


def draw_curve(panel: Axes, points: list[tuple[float, float]], count: int, style: dict[str, Any]) -> None:
    """A smoothed line over the faint line of all points."""
    if count > 1:
        panel.plot(*zip(*points, strict=True), color=style["color"], linewidth=0.6, alpha=0.25)
    panel.plot(*smoothed(points, count), **style)


class Plain(LogFormatter):
    """Numbers at a logarithmic scale as 0.04, without mathematical typesetting: names of runs and subsets may hold a $."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """A number, or nothing where labels would be too close."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def smoothed(points: list[tuple[float, float]], count: int) -> tuple[list[float], list[float]]:
    """Steps and values, each the mean of ``count`` in a row; the last takes the rest as well."""
    ends = [*range(count, len(points) - count + 1, count), len(points)]
    groups = [points[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    steps, values = ([statistics.fmean(pair[k] for pair in group) for group in groups] for k in (0, 1))
    return steps, values


def read(run: Path) -> Curves:
    """What a run has logged, without histograms, and without losses that it does not have: these are 0 in all lines."""
    if not (run / "metrics.jsonl").is_file():
        raise UserError(f"{run}: holds no metrics.jsonl; give the folders of runs")
    lines: list[Logged] = read_lines(run / "metrics.jsonl")
    curves: Curves = {}
    for line in lines:
        for name, value in line.items():
            if name != "step" and not isinstance(value, list):
                points = curves.setdefault(name, [])
                points += [(line["step"], value)] if value is not None else []
    absent = {
        name for name, points in curves.items() if name.startswith("train/loss") and {0} == {y for _, y in points}
    }
    return {name: points for name, points in curves.items() if name not in absent}


if __name__ == "__main__":
    run_command(main)
