"""Makes a data set in iHarmony4's layout from photos with masks, by the four colour transfers that iHarmony4 used.

    python scripts/make_composites.py PHOTOS [PHOTOS2 ...] OUT [--size 1024] [--seed S] [--workers N] [--per-photo K]
    python scripts/make_composites.py PHOTOS [PHOTOS2 ...] OUT --regions 3 [--at-most person=1000 cat=100] [...]
    python scripts/make_composites.py PHOTOS OUT --annotations instances.json [--objects N] [...]

PHOTOS holds images/ and masks/ with the same names, and photos.csv (name, category) if there are categories. With --annotations
it holds the photos, and their objects are in a file of COCO's or LabelMe's form (JSON or XML), or in a folder of such files.
--regions adds a subset that no published data set has: each colour region of an object takes the colours of another reference,
so that no single correction is right for the whole foreground. An interrupted run goes on when it is called again.
docs/composites.md says more.
"""

import argparse

from frih.common.errors import extra, run_command
from frih.common.paths import path_argument

with extra("train"):
    from frih.tools.composites.making import describe, make_composites
    from frih.tools.composites.objects import parse_limits

PUBLISHED = "  iHarmony4's test composites, in the paper: mean mse 172.47, fmse 1387.30, psnr 31.63"


def main() -> int:
    """Makes the data set and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", type=path_argument, nargs="+", metavar="PHOTOS", help="folders of photos, and OUT as the last"
    )
    parser.add_argument(
        "--out", type=path_argument, metavar="OUT", help="the data set, if all other folders are photos"
    )
    parser.add_argument(
        "--annotations", type=path_argument, metavar="PATH", help="file or folder of COCO's or LabelMe's form"
    )
    parser.add_argument("--objects", type=int, metavar="N", help="take the N largest annotated objects of a photo")
    parser.add_argument("--at-most", nargs="+", default=[], metavar="CATEGORY=N", help="take N photos of a category")
    parser.add_argument("--regions", type=int, default=0, metavar="K", help="also make composites of K colour regions")
    parser.add_argument("--size", type=int, metavar="S", help="reduce photos to this longer side")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the references")
    parser.add_argument("--workers", type=int, help="processes; one for each core by default")
    parser.add_argument("--per-photo", type=int, default=1, help="most composites of an object by each transfer")
    parser.add_argument("--test-fraction", type=float, default=0.1, help="share of the photos kept for testing")
    options = vars(parser.parse_args())
    folders, out = options.pop("folders"), options.pop("out")
    if len(folders) + bool(out) < 2:
        parser.error("give a folder of photos, or several, and the folder of the data set last")
    *photos, out = (*folders, out) if out else folders
    made = make_composites(photos, out, **{**options, "at_most": parse_limits(options["at_most"])})
    print(describe(made))
    print(PUBLISHED)
    return 0


if __name__ == "__main__":
    run_command(main)
