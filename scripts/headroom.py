"""How much submasks could add at most: what is left of a run's error when each mask, or each submask, is corrected at best.

    python scripts/headroom.py RUN data.root=DIR [--pictures N]
    python scripts/headroom.py RUN data.root=DIR --stage coarse

Of the test split of a data set. Corrections are fitted to the real pictures, so no network reaches them: they say how much of
the error is one change of colour of the whole foreground, how much differs from submask to submask, and how much is neither.
Inside is where a grey mask has a half or more, as for the network.
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
from tqdm import tqdm

from frih.checkpoint import find_checkpoint, load_model
from frih.data.iharmony4 import read_split
from frih.data.loader import Pictures, pack
from frih.distributed import choose_device
from frih.errors import UserError, run_command
from frih.evaluation import evenly
from frih.evaluation.evaluation import harmonize
from frih.experiments.headroom import Headroom, headroom
from frih.progress import progress_bar
from frih.settings import with_overrides

TITLES = {
    "before": "as it is",
    "shift_mask": "one change of colour for the mask",
    "shift_submasks": "one for each submask",
    "affine_mask": "one affine map for the mask",
    "affine_submasks": "one for each submask",
}


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run, a checkpoint, or weights")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument(
        "--stage", choices=["composite", "coarse", "refined"], default="refined", help="which picture (refined)"
    )
    parser.add_argument("--pictures", type=int, metavar="N", help="of the test split, evenly spaced; all by default")
    args = parser.parse_intermixed_args()
    if args.pictures is not None and args.pictures < 1:
        raise UserError("--pictures: must be 1 or more")
    model, config = load_model(find_checkpoint(args.run))
    config = with_overrides(config, args.overrides, only=("data", "submasks", "train.device"))
    device = choose_device(config.train.device)
    model.to(device)
    pictures = Pictures(read_split(config.data.root, "test", config.data.subsets).items, config.data, config.submasks)
    chosen = evenly(len(pictures), args.pictures or len(pictures))
    found: list[Headroom] = []
    areas: list[np.ndarray] = []
    for index in progress_bar(chosen, unit="picture"):
        sample = pictures[index]
        if not sample.labels.any():
            tqdm.write(f"{sample.item.subset}/{sample.item.composite_name}: has no foreground; left out")
            continue
        coarse, refined = harmonize(model, pack([sample]), device)
        picture = {"composite": sample.composite.astype(float), "coarse": coarse[0], "refined": refined[0]}[args.stage]
        found.append(headroom(picture, sample.real.astype(float), sample.labels))
        areas.append(np.sort(np.unique(sample.labels[sample.labels > 0], return_counts=True)[1])[::-1])
    if not found:
        raise UserError(f"data.root: no picture of {config.data.root} has a foreground")
    print(f"MSE of the {args.stage} picture inside the mask, mean over {len(found)} composites, corrected by")
    for name, mean in zip(Headroom._fields, np.mean(found, axis=0), strict=True):
        print(f"  {TITLES[name]:36}{mean:9.2f}")
    largest = statistics.fmean(one[:3].sum() / one.sum() for one in areas)
    print(
        f"{statistics.fmean(map(len, areas)):.1f} submasks a composite; the three largest hold {largest:.1%} of the foreground"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
