"""Shows whether a change of the code changes numbers: trains the same recipe at two commits and compares the loss curves.

    python scripts/compare_commits.py A B [RECIPE] [key.sub=value ...]

A and B are commits, or "." for the files as they are. Each is checked out into a folder of its own and trains there on the same
images, with one thread. Exit status 0 if every figure of metrics.jsonl, except for timings, is the same, bit for bit, and 1 if
not. The default recipe is one epoch of configs/sample.yaml, whose images python scripts/make_sample.py makes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from frih.common.errors import UserError, run_command
from frih.config.words import split_words
from frih.tools.experiments.run_log import read_lines

Curve = list[dict[str, Any]]
"""Lines of a ``metrics.jsonl``, without timings."""
ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ("configs/sample.yaml", "train.epochs=1", "train.milestones=[]", "logging.every=1", "validation.images=0")


def main() -> int:
    """Trains at both commits and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT")
    parser.add_argument("recipe", nargs="*", metavar="RECIPE key.sub=value", help="a YAML file, and keys to change")
    args = parser.parse_intermixed_args()
    recipe = args.recipe if split_words(args.recipe)[0] else [*DEFAULT, *args.recipe]
    with tempfile.TemporaryDirectory() as folder:
        curves = [train(commit, recipe, Path(folder, str(i))) for i, commit in enumerate(args.commits)]
    print(f"{len(curves[0])} lines, figures: {', '.join(shared_figures(*curves))}")
    difference = first_difference(*curves)
    print(difference or "the same, bit for bit")
    return 1 if difference else 0


def train(commit: str, recipe: list[str], folder: Path) -> Curve:
    """The lines of ``metrics.jsonl`` that a commit's code writes, without timings."""
    code = ROOT if commit == "." else folder / "code"
    if code != ROOT:
        _git("worktree", "add", "--detach", str(code), commit)
    try:
        # the commit's own packages come first; everything else, such as images and libraries, is the same
        environment = {**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, str(code / "train.py"), *recipe, f"run={folder / 'run'}"]
        if subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode:
            raise UserError(f"{commit}: did not train; its message stands above")
    finally:
        if code != ROOT:
            _git("worktree", "remove", "--force", str(code))
    return read_lines(folder / "run/metrics.jsonl", timings=False)


def shared_figures(one: Curve, other: Curve) -> list[str]:
    """The figures that both curves have: a commit may add some."""
    found = [{name for line in curve for name in line} for curve in (one, other)]
    return sorted(found[0] & found[1])


def first_difference(one: Curve, other: Curve) -> str | None:
    """A sentence on where two curves first differ; None if they do not."""
    steps = [[line["step"] for line in curve] for curve in (one, other)]
    if steps[0] != steps[1]:
        return f"not the same steps: {len(steps[0])} lines and {len(steps[1])}"
    shared = shared_figures(one, other)
    for mine, theirs in zip(one, other, strict=True):
        names = [name for name in shared if mine.get(name) != theirs.get(name)]
        if names:
            figures = ", ".join(f"{name} {mine.get(name)} and {theirs.get(name)}" for name in names)
            return f"step {mine['step']}: {figures}"
    return None


def _git(*words: str) -> None:
    done = subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {' '.join(words)}: {done.stderr.strip()}")


if __name__ == "__main__":
    run_command(main)
