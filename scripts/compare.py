"""Puts evaluations of the same images beside each other: tables, paired differences with intervals, and a page to look at.

    python scripts/compare.py runs/baseline/evaluation/test runs/frih/evaluation/test --out outputs/comparison
    python scripts/compare.py baseline=DIR ours=DIR2 dovenet=DIR3 --out DIR

The others are compared with the first. Folders without a name are called by the parts of their paths that differ.
Evaluations by different protocols, at different sizes or of different images are refused unless --anyway is given; the tables
then say what differs. Writes comparison.md (with LaTeX), comparison.html and comparison.json.
"""

import argparse

from frih.common.columns import wrapped
from frih.common.errors import extra, run_command
from frih.common.paths import path_argument
from frih.config.words import named_folders

with extra("train"):
    from frih.tools.report import compare
    from frih.tools.report.comparison import short_names


def main() -> int:
    """Compares what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="[NAME=]DIR", help="folders that evaluate.py wrote")
    parser.add_argument("--out", type=path_argument, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--anyway", action="store_true", help="compare evaluations that were not made alike")
    args = parser.parse_args()
    print(compare(named_folders(args.folders, others=short_names), args.out, anyway=args.anyway))
    print(wrapped(f"\nwritten: comparison.html, comparison.json, comparison.md in {args.out}"))
    return 0


if __name__ == "__main__":
    run_command(main)
