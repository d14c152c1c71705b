"""Draws figures of one or several runs over their steps, from metrics.jsonl.

    python scripts/plot_runs.py RUN [RUN ...] --out curves.png [--figures train/loss_coarse train/loss_refine] [--log]

Each figure has a panel, and each run a line, named by the parts of the folders' paths that differ. --smooth N draws the mean of
every N lines of the log, except for validation.
"""

import argparse
import statistics
from pathlib import Path

from frih.common.errors import UserError, did_you_mean, extra, run_command
from frih.common.files import whole_file
from frih.common.paths import path_argument

with extra("train"):
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    from frih.tools.experiments.run_log import read_lines
    from frih.tools.report.comparison import short_names
    from frih.training.logged import Logged

DEFAULT = ("train/loss_coarse", "train/loss_refine", "train/grad_norm")


def main() -> int:
    """Reads, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=path_argument, metavar="RUN")
    parser.add_argument("--out", type=path_argument, required=True, metavar="FILE", help="png, svg or pdf")
    parser.add_argument("--figures", nargs="+", default=DEFAULT, metavar="NAME")
    parser.add_argument("--log", action="store_true", help="a logarithmic scale")
    parser.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="lines of the log for each point (default: 1)"
    )
    args = parser.parse_args()
    if args.smooth < 1:
        raise UserError("--smooth: must be 1 or more")
    logs = {name: read(run) for name, run in short_names(args.runs).items()}
    histograms = {name for lines in logs.values() for line in lines for name in line if isinstance(line[name], list)}
    known = sorted({name for lines in logs.values() for line in lines for name in line} - {"step", *histograms})
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "font.size": 9,
            "text.parse_math": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "frih",
        }
    )
    figure, axes = plt.subplots(1, len(args.figures), figsize=(4 * len(args.figures), 3), squeeze=False)
    for axis, name in zip(axes[0], args.figures, strict=True):
        if name not in known:
            raise UserError(f"--figures: no run has {name}{did_you_mean(name, known)}")
        for run, lines in logs.items():
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            if points:  # a run need not have every figure
                axis.plot(*smoothed(points, 1 if name.startswith("val/") else args.smooth), linewidth=1, label=run)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step")
        if args.log:
            axis.set_yscale("log")
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    with whole_file(args.out) as file:
        figure.savefig(file, format=args.out.suffix.lstrip(".") or "png", dpi=110)
    print(f"written: {args.out}")
    return 0


def smoothed(points: list[tuple[float, float]], count: int) -> tuple[list[float], list[float]]:
    """Steps and values, each the mean of ``count`` in a row; the last is the mean of the rest."""
    groups = [points[i : i + count] for i in range(0, len(points), count)]
    steps, values = ([statistics.fmean(pair[k] for pair in group) for group in groups] for k in (0, 1))
    return steps, values


def read(run: Path) -> list[Logged]:
    """The lines of a run's log."""
    if not (run / "metrics.jsonl").is_file():
        raise UserError(f"{run}: holds no metrics.jsonl; give the folders of runs")
    return read_lines(run / "metrics.jsonl")


if __name__ == "__main__":
    run_command(main)
