"""Measures what submasks could add at most: the fMSE left after the best colour shift of each part of the foreground.

    python scripts/oracle.py --input-composite data.root=DIR [--images 120]     # of the composites as they are
    python scripts/oracle.py RUN data.root=DIR                                  # of a network's coarse and refined images
    python scripts/oracle.py --predictions DIR data.root=...                    # of the images in a folder
    python scripts/oracle.py --input-composite data.root=DIR --methods whole cfsfdp:0.02 gamma:10 kmeans:8

Shifts are fitted to the real image, so no network reaches them. The parts are those of the composite at data.size, as in
training. Methods are cfsfdp:CUTOFF, gamma:CANDIDATES, kmeans:CLUSTERS, random:CLUSTERS, and "whole", the mask as one part.
"largest" is the median share of the foreground in the largest submask of the paper's rule. --correction affine fits a map of
twelve numbers instead of a shift.
"""

import argparse
import json

from frih.common.cells import write_csv
from frih.common.distributed import connect
from frih.common.errors import SharedError, UserError, alike, extra, run_command
from frih.common.files import write_whole
from frih.common.paths import path_argument
from frih.common.wording import counted
from frih.config import SubmaskConfig

with extra("train"):
    from frih.data.dataset import CompositeDataset
    from frih.data.iharmony4 import read_split
    from frih.evaluation import evenly
    from frih.evaluation.command import load_subject, parse_subject, subject_parser
    from frih.evaluation.layout import fitted
    from frih.evaluation.rows import write_rows
    from frih.evaluation.tables import INPUT, methods
    from frih.metrics import Row
    from frih.tools.experiments.oracle import (
        CORRECTIONS,
        METHODS,
        PAPER,
        Oracle,
        left,
        left_table,
        parse_method,
        size_table,
        sizes,
    )

CORRECTED = {"shift": "the best colour shift", "affine": "the best affine map of RGB"}


def main() -> int:
    """Prints tables, and writes them if the command line says so."""
    with alike():
        args = parse()
        divisions = {name: parse_method(name) for name in args.methods}
        subject = load_subject(args, only=("data", "submasks", "train.device"))
        model, config = subject.model, subject.config
        items = read_split(config.data.root, args.split, config.data.subsets).items
        items = [items[index] for index in evenly(len(items), args.images or len(items))]
        submasks = config.submasks if model and model.refines else SubmaskConfig(method="whole")
        images = CompositeDataset(items, config.data, submasks)

    with connect(config.train.device) as world:
        oracle = Oracle(
            images,
            world=world,
            batch=config.evaluation.batch,
            workers=config.data.workers,
            methods={PAPER: parse_method(PAPER), **divisions},
            correction=args.correction,
        )
        names = {"input_": INPUT}
        if model:
            by_protocol = oracle.of_model(model.to(world.device))
            names = methods(subject.name)
            if not model.refines:
                del names["coarse_"]
        elif args.predictions:
            by_protocol = oracle.of_predictions(args.predictions, args.pattern).popitem()[1]
            names |= {"": next(iter(args.predictions))}
        else:
            by_protocol, names = oracle.of_input(), {"": INPUT}
        (rows,) = by_protocol.values()  # an oracle has no protocols
        if not any(row.fg_ratio for row in rows):
            raise SharedError(f"data.root: no image of {config.data.root} has a foreground at data.size")
        if world.is_main:
            report(args, rows, names)
        world.barrier()  # the others must not have gone before
    return 0


def report(args: argparse.Namespace, rows: list[Row], names: dict[str, str]) -> None:
    """Prints and writes the tables."""
    of_systems = {name: left(rows, prefix, args.methods) for prefix, name in names.items()}
    of_methods = sizes(rows, args.methods)
    tables = [
        left_table(found, f"{name}: fMSE, and what is left of it after {CORRECTED[args.correction]} of each part")
        for name, found in of_systems.items()
    ]
    tables.append(size_table(of_methods))
    print("\n\n".join(fitted(tables)))
    empty = [f"{row.subset}/{row.name}" for row in rows if not row.fg_ratio]
    if empty:
        print(f"\n{counted(len(empty), 'image')} without foreground left out, as {empty[0]}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_rows(args.out / "rows.csv", rows)
        write_whole(args.out / "oracle.md", "\n\n".join(table.markdown() for table in tables) + "\n")
        lines = [[name, subset, *cell.values()] for name, found in of_systems.items() for subset, cell in found.items()]
        columns = next(iter(next(iter(of_systems.values())).values()))
        write_csv(args.out / "oracle.csv", [["system", "subset", *columns], *lines])
        about = {"correction": args.correction, "fmse": of_systems, "submasks": of_methods}
        write_whole(args.out / "oracle.json", json.dumps(about, indent=2) + "\n")
        print(f"\nwritten: oracle.md, oracle.csv, oracle.json, rows.csv in {args.out}")


def parse() -> argparse.Namespace:
    """The command line: one of a run, a folder of predictions, or the composites; and overrides."""
    parser = subject_parser(__doc__)
    option = parser.add_argument
    option("--images", type=int, metavar="N", help="of the split, evenly spaced; all by default")
    usual = f"divisions (default: {' '.join(METHODS)})"
    option("--methods", nargs="+", default=list(METHODS), metavar="M", help=usual)
    option("--correction", choices=list(CORRECTIONS), default="shift", help="default: shift")
    option("--out", type=path_argument, metavar="DIR", help="write tables and each image's figures there")
    args = parse_subject(parser, "methods")
    args.methods = list(dict.fromkeys(args.methods))
    if len(args.predictions) > 1:
        raise UserError("--predictions: takes one folder here")
    if args.images is not None and args.images < 1:
        raise UserError("--images: must be 1 or more")
    return args


if __name__ == "__main__":
    run_command(main)
