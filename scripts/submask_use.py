"""Shows what a trained FRIH makes of its submasks: other divisions at test time, and the gradient of its submask channel.

    python scripts/submask_use.py RUN data.root=DIR [--divisions whole shuffled strips kmeans:8 given blind:0] [--images 120]

The network's own submasks are replaced: "whole" is the mask as one submask; "shuffled" and "strips" are random ones of the same
sizes, as dust and as parallel strips; "given" takes the files of the data set, as the regions of composites that were restyled
region by region; others are divisions as of oracle.py, such as kmeans:8. "blind:0" and "blind:1" keep the own submasks, but
show the cascade this value in place of each. With --out: submask_use.md, submask_use.json, and a line an image in rows.csv.
"""

import argparse
import json
from collections.abc import Iterator

import torch

from frih.common.devices import choose_device
from frih.common.errors import UserError, extra, run_command
from frih.common.files import write_whole
from frih.common.paths import path_argument
from frih.config import Config
from frih.models import FRIH, build_model

with extra("train"):
    from frih.data.batches import Batch, pack
    from frih.data.dataset import CompositeDataset
    from frih.data.iharmony4 import read_split
    from frih.evaluation import evenly
    from frih.evaluation.command import load_subject, parse_weights, weights_parser
    from frih.evaluation.layout import fitted
    from frih.evaluation.rows import write_rows
    from frih.evaluation.write import finite
    from frih.tools.experiments.submask_use import (
        BLIND,
        USUAL,
        Channel,
        channel_table,
        channels,
        differences,
        division,
        division_table,
        evaluate_divisions,
    )

GRADIENTS = 64
"""Most images whose gradients are measured."""


def main() -> int:
    """Measures, prints and writes."""
    args = parse()
    config, model = load_subject(args, only=("data", "evaluation", "submasks", "loss", "train.device"))[:2]
    if not isinstance(model, FRIH) or model.cascade is None:
        raise UserError(f"{args.run}: has no second stage, so it makes nothing of submasks; give a whole FRIH")
    device = choose_device(config.train.device)
    items = read_split(config.data.root, args.split, config.data.subsets).items
    items = [items[index] for index in evenly(len(items), args.images or len(items))]
    images = CompositeDataset(items, config.data, config.submasks)
    model = model.to(device)
    rows = evaluate_divisions(
        model, images, args.divisions, device, batch=config.evaluation.batch, workers=config.data.workers
    )
    of_trained, of_fresh = (of_channels(one, images, config, device) for one in (model, initial(config, device)))
    tables = [division_table(rows, args.divisions), channel_table(of_trained, of_fresh)]
    print("\n\n".join(fitted(tables)))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_rows(args.out / "rows.csv", rows)
        write_whole(args.out / "submask_use.md", "\n\n".join(table.markdown() for table in tables) + "\n")
        found = {name: finite(one._asdict()) for name, one in differences(rows, args.divisions).items()}
        about = {"differences": found, "channels": {name: one._asdict() for name, one in of_trained.items()}}
        write_whole(args.out / "submask_use.json", json.dumps(about, indent=2) + "\n")
        print(f"\nwritten: submask_use.md, submask_use.json, rows.csv in {args.out}")
    return 0


def initial(config: Config, device: torch.device) -> FRIH:
    """The network with random weights."""
    torch.manual_seed(config.seed)
    model = build_model(config)
    assert isinstance(model, FRIH)
    return model.to(device)


def of_channels(model: FRIH, images: CompositeDataset, config: Config, device: torch.device) -> dict[str, Channel]:
    """What the input channels of the second stage mean for the loss on some of the images."""

    def batches() -> Iterator[Batch]:
        chosen, size = evenly(len(images), GRADIENTS), config.evaluation.batch
        for start in range(0, len(chosen), size):
            yield pack([images[index] for index in chosen[start : start + size]]).unpack(device)

    return channels(model, batches(), min_area=config.loss.min_area, equal=config.loss.equal)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = weights_parser(__doc__)
    option = parser.add_argument
    option("--split", choices=["test", "train"], default="test")
    option("--images", type=int, metavar="N", help="of the split, evenly spaced; all by default")
    option("--divisions", nargs="+", default=list(USUAL), metavar="D", help=f"default: {' '.join(USUAL)}")
    option("--out", type=path_argument, metavar="DIR", help="write tables and each image's figures there")
    args = parse_weights(parser, "divisions")
    args.divisions = list(dict.fromkeys(args.divisions))
    for name in args.divisions:
        if name not in BLIND:
            division(name)  # a wrong one is refused before anything is measured
    if args.images is not None and args.images < 1:
        raise UserError("--images: must be 1 or more")
    return args


if __name__ == "__main__":
    run_command(main)
