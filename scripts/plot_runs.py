"""Draws figures of one or several runs over their steps, from their metrics.jsonl.

    python scripts/plot_runs.py RUN [RUN ...] --out curves.png [--figures train/loss_coarse train/loss_refine] [--log]

A panel a figure, a line a run, named by its folder.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from frih.errors import UserError, did_you_mean, run_command
from frih.files import whole_file

DEFAULT = ("train/loss_coarse", "train/loss_refine", "train/grad_norm")


def main() -> int:
    """Reads, draws, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="png, svg or pdf")
    parser.add_argument("--figures", nargs="+", default=DEFAULT, metavar="NAME")
    parser.add_argument("--log", action="store_true", help="a logarithmic scale")
    args = parser.parse_args()
    logs = {run.name: read(run) for run in args.runs}
    known = sorted({name for lines in logs.values() for line in lines for name in line} - {"step"})
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "frih"})
    figure, axes = plt.subplots(1, len(args.figures), figsize=(4 * len(args.figures), 3), squeeze=False)
    for axis, name in zip(axes[0], args.figures, strict=True):
        if name not in known:
            raise UserError(f"--figures: no run has {name}{did_you_mean(name, known)}")
        for run, lines in logs.items():
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            axis.plot(*zip(*points, strict=True), linewidth=1, label=run)
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


def read(run: Path) -> list[dict[str, float]]:
    """The lines of a run's log."""
    try:
        text = (run / "metrics.jsonl").read_text(encoding="utf-8")
    except OSError:
        raise UserError(f"{run}: holds no metrics.jsonl; give the folders of runs") from None
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


if __name__ == "__main__":
    run_command(main)
