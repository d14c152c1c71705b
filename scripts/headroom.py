"""How much submasks could add at most: what is left of a run's error when each mask, or each submask, is corrected at best.

    python scripts/headroom.py RUN data.root=DIR [--pictures N]
    python scripts/headroom.py RUN data.root=DIR --stage coarse
    python scripts/headroom.py RUN data.root=DIR --evaluations GLOBALMASK/evaluation/test SUBMASK/evaluation/test

Of the test split of a data set. Corrections are fitted to the real pictures, so no network reaches them: they say how much of
the error is one change of colour of the whole foreground, how much differs from submask to submask, and how much is neither.
Inside is where a grey mask has a half or more, as for the network. --evaluations says whether the second differs from the first
where foregrounds are divided, and where one submask is nearly all.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from tqdm import tqdm

from frih.checkpoint import find_checkpoint, load_model
from frih.data.iharmony4 import read_split
from frih.data.loader import Pictures, pack
from frih.distributed import choose_device
from frih.errors import UserError, run_command
from frih.evaluation import evenly, harmonize
from frih.experiments.headroom import Headroom, headroom
from frih.metrics import Row
from frih.progress import progress_bar
from frih.report.rows import read_rows
from frih.report.statistics import paired
from frih.settings import with_overrides

SHARES = (0.0, 0.6, 0.8, 0.95, 1.0)
"""Between these the composites are grouped by the largest submask's share of the foreground."""
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
    parser.add_argument("--evaluations", nargs=2, type=Path, metavar="DIR", help="two, of the same test split")
    args = parser.parse_intermixed_args()
    if args.pictures is not None and args.pictures < 1:
        raise UserError("--pictures: must be 1 or more")
    evaluations = [read_rows(folder / "rows.csv") for folder in args.evaluations or ()]
    model, config = load_model(find_checkpoint(args.run))
    config = with_overrides(config, args.overrides, only=("data", "submasks", "train.device"))
    device = choose_device(config.train.device)
    model.to(device)
    pictures = Pictures(read_split(config.data.root, "test", config.data.subsets).items, config.data, config.submasks)
    chosen = evenly(len(pictures), args.pictures or len(pictures))
    found: list[Headroom] = []
    areas: dict[tuple[str, str], np.ndarray] = {}
    for index in progress_bar(chosen, unit="picture"):
        sample = pictures[index]
        if not sample.labels.any():
            tqdm.write(f"{sample.item.subset}/{sample.item.composite_name}: has no foreground; left out")
            continue
        coarse, refined = harmonize(model, pack([sample]), device)
        picture = {"composite": sample.composite.astype(float), "coarse": coarse[0], "refined": refined[0]}[args.stage]
        found.append(headroom(picture, sample.real.astype(float), sample.labels))
        counts = np.unique(sample.labels[sample.labels > 0], return_counts=True)[1]
        areas[sample.item.subset, sample.item.composite_name] = np.sort(counts)[::-1] / counts.sum()
    if not found:
        raise UserError(f"data.root: no picture of {config.data.root} has a foreground")
    print(f"MSE of the {args.stage} picture inside the mask, mean over {len(found)} composites, corrected by")
    for name, mean in zip(Headroom._fields, np.mean(found, axis=0), strict=True):
        print(f"  {TITLES[name]:36}{mean:9.2f}")
    count, three = statistics.fmean(map(len, areas.values())), statistics.fmean(one[:3].sum() for one in areas.values())
    median = statistics.median(one[0] for one in areas.values())
    print(
        f"{count:.1f} submasks a composite, of which the three largest hold {three:.1%} of the foreground, the mean of all;"
    )
    print(f"the largest alone holds {median:.1%} in the median composite")
    if evaluations:
        print_differences(*evaluations, {key: float(one[0]) for key, one in areas.items()})
    return 0


def print_differences(first: Sequence[Row], second: Sequence[Row], largest: Mapping[tuple[str, str], float]) -> None:
    """How the second evaluation's fMSE differs from the first's, by the share that the largest submask has."""
    print(
        "fMSE of the second evaluation less the first's, 95 % interval over real photos, where the largest submask holds"
    )
    for low, high in pairwise(SHARES):
        within = {key for key, share in largest.items() if low <= share < high or share == high == 1}
        found = paired(
            second,
            first,
            "fmse",
            higher_is_better=False,
            members=lambda row, within=within: (row.subset, row.name) in within,
        )
        group = f"{low:.0%} to {high:.0%} of the foreground"
        print(f"  {group:36}{found.mean:+9.2f} [{found.low:+.2f}, {found.high:+.2f}], {found.images} composites")


if __name__ == "__main__":
    run_command(main)
