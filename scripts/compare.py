"""Puts evaluations of the same images beside each other: tables, paired differences with intervals, and a page to look at.

    python scripts/compare.py runs/baseline/evaluation/test runs/frih/evaluation/test --out outputs/comparison
    python scripts/compare.py baseline=DIR ours=DIR dovenet=DIR --out DIR

The first is what the others are compared with. Evaluations by different protocols, at different sizes or of different images
are refused unless --anyway is given, which is then printed with the tables. Writes comparison.md (with LaTeX), comparison.html
and comparison.json.
"""

import argparse
from pathlib import Path

from frih.common.errors import UserError, run_command
from frih.tools.report import compare


def main() -> int:
    """Compares what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="[NAME=]DIR", help="folders that evaluate.py wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--anyway", action="store_true", help="compare evaluations that were not made alike")
    args = parser.parse_args()
    print(compare(named_folders(args.folders), args.out, anyway=args.anyway))
    print(f"\nwrote {args.out / 'comparison.html'}, comparison.md and comparison.json")
    return 0


def named_folders(words: list[str]) -> dict[str, Path] | list[Path]:
    """``NAME=DIR`` for each, or ``DIR`` for each."""
    named = [word.partition("=") for word in words if "=" in word and not Path(word).is_dir()]
    if not named:
        return [Path(word) for word in words]
    if len(named) < len(words):
        raise UserError("give all evaluations a name (NAME=DIR), or none")
    names = [name for name, _, _ in named]
    for place, name in enumerate(names):
        if not name or name in names[:place]:
            raise UserError(f"{words[place]}: needs a name of its own before the =")
    return {name: Path(folder) for name, _, folder in named}


if __name__ == "__main__":
    run_command(main)
