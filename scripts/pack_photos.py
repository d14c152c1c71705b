"""Packs photos with masks for another machine: 256 x 256 pixels each, as the network sees them, in some 10 KB.

    python scripts/pack_photos.py PHOTOS [PHOTOS2 ...] OUT [--at-most cat=100] [--size 256] [--quality 80] [--workers N]

OUT has the form of PHOTOS, so scripts/make_composites.py makes a data set of it there. An interrupted run goes on when it is
called again. docs/composites.md says more.
"""

import argparse

from frih.common.errors import run_command
from frih.common.paths import path_argument
from frih.tools.composites.objects import parse_limits
from frih.tools.composites.packing import QUALITY, pack_photos


def main() -> int:
    """Packs the photos and says how large they are now."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "photos", type=path_argument, nargs="+", metavar="PHOTOS", help="folders with images/ and masks/"
    )
    parser.add_argument("out", type=path_argument, metavar="OUT")
    parser.add_argument("--at-most", nargs="+", default=[], metavar="CATEGORY=N", help="take N photos of a category")
    parser.add_argument("--size", type=int, default=256, metavar="S", help="side in pixels (default: 256)")
    parser.add_argument("--quality", type=int, default=QUALITY, metavar="Q", help=f"of WebP (default: {QUALITY})")
    parser.add_argument("--seed", type=int, default=0, help="of the choice that --at-most makes")
    parser.add_argument("--workers", type=int, help="processes; one for each core by default")
    options = vars(parser.parse_args())
    print(pack_photos(**{**options, "at_most": parse_limits(options["at_most"])}).describe())
    return 0


if __name__ == "__main__":
    run_command(main)
