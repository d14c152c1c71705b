"""Puts evaluations of the same images beside each other: tables, paired differences with intervals, and a page to look at.

    python scripts/compare.py runs/baseline/evaluation/test runs/frih/evaluation/test --out outputs/comparison
    python scripts/compare.py baseline=DIR ours=DIR dovenet=DIR --out DIR

The others are compared with the first. Evaluations by different protocols, at different sizes or of different images are
refused unless --anyway is given; the tables then say what differs. Writes comparison.md (with LaTeX), comparison.html and
comparison.json.
"""

import argparse
from pathlib import Path

from frih.common.errors import UserError, extra, run_command
from frih.common.paths import at_home, path_argument
from frih.config.words import named_folder

with extra("train"):
    from frih.tools.report import compare


def main() -> int:
    """Compares what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="[NAME=]DIR", help="folders that evaluate.py wrote")
    parser.add_argument("--out", type=path_argument, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--anyway", action="store_true", help="compare evaluations that were not made alike")
    args = parser.parse_args()
    print(compare(named_folders(args.folders), args.out, anyway=args.anyway))
    print(f"\nwrote {args.out / 'comparison.html'}, comparison.md and comparison.json")
    return 0


def named_folders(words: list[str]) -> dict[str, Path] | list[Path]:
    """``NAME=DIR`` for each, or ``DIR`` for each."""
    named = {}
    for word in words:
        name, folder = named_folder(word)
        if name or word.startswith("="):
            if not name or name in named:
                raise UserError(f"{word}: needs a name of its own before the =")
            named[name] = Path(folder)
    if named and len(named) < len(words):
        raise UserError("give all evaluations a name (NAME=DIR), or none")
    return named or [Path(at_home(word)) for word in words]


if __name__ == "__main__":
    run_command(main)
