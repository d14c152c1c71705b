"""Checks a data set in iHarmony4's layout: reads every file and names all faults before training meets one.

    python scripts/check_data.py ROOT [--subsets HCOCO HFlickr] [--json FILE]
    python scripts/check_data.py ROOT --write-lists

An error would stop training or evaluation or make it wrong; all else is a remark. The exit status is 0 without errors, 2 with
some, 130 after Ctrl-C. docs/data.md says what each finding means.
"""

import argparse

from frih.common.errors import USER_ERROR, UserError, run_command
from frih.common.paths import path_argument
from frih.tools.datasets.check import check_dataset, write_lists, write_report


def main() -> int:
    """Checks the data set and says what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=path_argument, metavar="ROOT", help="the folder that holds HCOCO, HAdobe5k, ...")
    parser.add_argument("--subsets", nargs="+", metavar="NAME", help="check these only; by default all that are there")
    parser.add_argument("--size", type=int, default=256, help="the network's; masks must have foreground there too")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; one for each core by default")
    parser.add_argument("--json", type=path_argument, metavar="FILE", help="write every finding there")
    parser.add_argument(
        "--write-lists", action="store_true", help="first write missing lists, if others have their lines"
    )
    args = parser.parse_args()
    if args.size < 1 or (args.workers or 0) < 0:
        parser.error("--size must be 1 or more, --workers 0 or more")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"--json: {args.json.parent} is not a folder")

    if args.write_lists:
        written = write_lists(args.root)
        print("\n".join(f"wrote {path}" for path in written) or "no list is missing that can be made from others")
    report = check_dataset(args.root, args.subsets, size=args.size, workers=args.workers)
    print(report.describe())
    if args.json:
        write_report(report, args.json)
        print(f"every finding: {args.json}")
    return USER_ERROR if report.errors else 0


if __name__ == "__main__":
    run_command(main)
