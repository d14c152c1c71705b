"""Makes a smaller copy of a data set in iHarmony4's layout, once, so that training reads small files; and checks such a copy.

    python scripts/prepare.py ROOT OUT --size 256|512|1024|original [--format jpeg|webp|png] [--quality Q] [--link]
    python scripts/prepare.py OUT --verify

ROOT is only read. A run that was stopped goes on when it is called again. Sizes: 256 is exactly 256 x 256, the size at which
evaluation sees every image; 512 and 1024 bound the longer side; original converts only images that are not upright or in plain
colours. The exit status is 2 if files of ROOT are missing or damaged, or if --verify finds such files in OUT; each is named.
docs/data.md says what to choose.
"""

import argparse
import sys

from frih.common.errors import USER_ERROR, UserError, run_command
from frih.common.paths import path_argument
from frih.tools.datasets.prepare import describe, prepare_dataset, verify_dataset
from frih.tools.datasets.shrinking import QUALITY, SIZES, SUFFIXES


def main() -> int:
    """Makes the copy, or what is missing of it, and verifies it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=path_argument, metavar="ROOT", help="the data set")
    parser.add_argument("out", type=path_argument, metavar="OUT", help="the copy's folder")
    parser.add_argument("--size", choices=SIZES, default="512", help="of the stored images (default: 512)")
    parser.add_argument("--format", choices=list(SUFFIXES), help="of converted images (default: by size)")
    parser.add_argument("--quality", type=int, metavar="Q", help=f"of JPEG, 1 to 100 (default: {QUALITY})")
    parser.add_argument("--link", action="store_true", help="hard links where files are not converted, not copies")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; one for each core by default")
    parser.add_argument("--verify", action="store_true", help="read all files of the copy and compare them")
    args = parser.parse_intermixed_args()
    if not (args.root or args.verify):
        raise UserError("give the data set's folder and the copy's, or the copy's alone and --verify")
    if args.workers is not None and args.workers < 1:
        raise UserError(f"--workers: must be 1 or more, not {args.workers}")

    if args.root:
        settings = {"size": args.size, "format": args.format, "quality": args.quality}
        made = prepare_dataset(args.root, args.out, link=args.link, workers=args.workers, **settings)
        if made.faults:
            return tell(made.faults, f"of {args.root}; the copy is not finished: repair them and call this again")
        print(describe(made))
    if args.verify:
        faults = verify_dataset(args.out, workers=args.workers)
        if faults:
            return tell(faults, f"of {args.out}; remove these files and prepare again; only they are made again")
        print(f"{args.out}: every file is as it was written")
    return 0


def tell(faults: list[str], where: str) -> int:
    """Prints every fault, and what to do."""
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} {where}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    run_command(main)
