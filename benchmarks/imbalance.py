"""By how much the fullest of several training processes exceeds the others, and what dividing by last epoch's costs saves.

    python benchmarks/imbalance.py [--root ROOT=data/sample] [--images N] [--epochs E]

ROOT is a dataset in iHarmony4's layout, whose training split is taken; N of its composites, evenly spaced, are loaded as for
training, E times. Then batches are drawn from all of these, and divided as :mod:`frih.data.division` does: in the first epoch
like cards; by what the images cost in the epoch before; and by what they cost in this one, which nobody can know. Printed are
the mean surplus of the fullest process, in per cent of the mean process: of its pairs of image and submask, and of its tiles.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from frih.common.errors import UserError, run_command
from frih.common.progress import progress_bar
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.data.division import Costs, divide
from frih.data.iharmony4 import read_split
from frih.evaluation import evenly
from frih.tools.machine.device import command
from frih.training.balance import costs

LAYOUTS = ((2, 32), (4, 8), (4, 32), (8, 16), (8, 32))
"""Processes, and images of each in a step."""
DRAWS = 8
"""How often each epoch is divided into batches."""


def main() -> int:
    """Prints a line for each layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="composites (default: 1000)")
    parser.add_argument("--epochs", type=int, default=3, metavar="E", help="2 or more (default: 3)")
    args = parser.parse_args()
    if args.images < 1 or args.epochs < 2:
        raise UserError("--images: must be 1 or more, and --epochs 2 or more")
    torch.set_num_threads(1)
    items = read_split(args.root, "train").items
    chosen = [items[i] for i in evenly(len(items), args.images)]
    images = CompositeDataset(chosen, DataConfig(), SubmaskConfig())
    images.warm_up()
    epochs = [load(images, epoch) for epoch in range(args.epochs)]
    print(command())
    pairs, tiles = epochs[0].mean(axis=0)
    print(f"{len(images)} composites of {args.root}: {pairs:.1f} submasks and {tiles:.0f} tiles an image on average")
    ways = ("like cards", "by the epoch before", "by this epoch")
    print("surplus of the fullest process, %", *(f"{way + ': pairs':>28}{'tiles':>8}" for way in ways))
    for processes, each in LAYOUTS:
        if processes * each > len(images):
            continue
        surplus = [mean_surplus(epochs, expected, processes, each) for expected in (unknown, before, same)]
        print(
            f"  {processes} processes x {each:3} images      ", *(f"{one:28.1f}{other:8.1f}" for one, other in surplus)
        )
    return 0


def load(images: CompositeDataset, epoch: int) -> Costs:
    """What all images cost in an epoch."""
    bar = progress_bar(range(len(images)), desc=f"epoch {epoch}", unit="image", leave=False)
    return np.concatenate([costs(pack([images[epoch, index]]).labels).numpy() for index in bar])


def unknown(epochs: list[Costs], epoch: int) -> Costs:
    """No cost is known."""
    return np.zeros_like(epochs[epoch])


def before(epochs: list[Costs], epoch: int) -> Costs:
    """The costs of the epoch before."""
    return epochs[epoch - 1]


def same(epochs: list[Costs], epoch: int) -> Costs:
    """The costs themselves."""
    return epochs[epoch]


def mean_surplus(
    epochs: list[Costs], expected: Callable[[list[Costs], int], Costs], processes: int, each: int
) -> np.ndarray:
    """(2,): of the fullest process over the mean process, less 1, in per cent; of pairs and of tiles."""
    rng, found = np.random.default_rng(0), []
    for epoch in list(range(1, len(epochs))) * DRAWS:
        order = rng.permutation(len(epochs[epoch]))
        for start in range(0, len(order) - processes * each + 1, processes * each):
            batch = order[start : start + processes * each]
            taken = divide(expected(epochs, epoch)[batch], processes)
            loads = np.stack([np.bincount(taken, measure, processes) for measure in epochs[epoch][batch].T])
            found.append(loads.max(axis=1) / loads.mean(axis=1) - 1)
    return 100 * np.mean(found, axis=0)


if __name__ == "__main__":
    run_command(main)
