"""Makes the quick start's data set, in iHarmony4's layout, from the photos that come with scikit-image.

    python scripts/make_sample.py [ROOT=data/sample] [--seed N]

It takes seconds and downloads nothing. If the data set is there already, it does nothing. See frih/tools/composites/sample.py.
"""

import argparse
from pathlib import Path

from frih.common.errors import extra, run_command
from frih.common.paths import path_argument

with extra("train"):
    from frih.tools.composites.sample import SPLITS, make_sample


def main() -> int:
    """Makes the data set and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=path_argument, default=Path("data/sample"), metavar="ROOT")
    parser.add_argument("--seed", type=int, default=0, help="of the references and transfers")
    args = parser.parse_args()
    sample = make_sample(args.root, seed=args.seed)
    print(f"{args.root}: {'made' if sample.made else 'is there already, nothing to do'}")
    for split, count in sample.composites.items():
        print(f"  {split:5}  {count:4} composites of {', '.join(SPLITS[split])}; mean MSE {sample.mse[split]:.2f}")
    return 0


if __name__ == "__main__":
    run_command(main)
