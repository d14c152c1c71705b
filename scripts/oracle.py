"""What submasks could add at most: the fMSE that is left if the best colour shift of each part of the foreground were known.

    python scripts/oracle.py --input-composite data.root=DIR [--images 120]     # of the composites as they are
    python scripts/oracle.py RUN data.root=DIR                                  # of a network's coarse and refined images
    python scripts/oracle.py --predictions DIR data.root=...                    # of anyone's images
    python scripts/oracle.py --input-composite data.root=DIR --methods whole cfsfdp:0.02 gamma:10 kmeans:8

Shifts are fitted to the real image, so no network reaches them. The parts are those of the composite at data.size, as in
training. A method is written with its number behind: cfsfdp:CUTOFF, gamma:CANDIDATES, kmeans:CLUSTERS; "whole" takes the
foreground as one part. "largest" is the median share of the foreground in the largest submask of the paper's rule. --correction
affine fits a map of twelve numbers instead. --evaluations says whether two networks differ where foregrounds are divided, or
where one submask is nearly all.
"""

import argparse
import csv
import io
import json
from pathlib import Path

from frih.common.distributed import connect
from frih.common.errors import SharedError, UserError, alike, run_command
from frih.common.files import write_whole
from frih.common.wording import counted
from frih.config import SubmaskConfig
from frih.config.recipes import load_config, with_overrides
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import Rows, evenly
from frih.evaluation.rows import read_rows, write_rows
from frih.metrics import Row
from frih.models.checkpoint import load_checkpoint, rebuild_model
from frih.models.locate import locate
from frih.tools.experiments.oracle import (
    CORRECTIONS,
    METHODS,
    PAPER,
    Oracle,
    difference_table,
    left,
    left_table,
    parse_method,
    size_table,
    sizes,
)

CORRECTED = {"shift": "the best colour shift", "affine": "the best affine map of RGB"}


def main() -> int:
    """Prints tables, and writes them where the command line says so."""
    with alike():
        args = parse()
        methods = {name: parse_method(name) for name in args.methods}
        evaluations = [read_rows(folder / "rows.csv") for folder in args.evaluations or ()]
        model, config = None, load_config(None)
        if args.run:
            checkpoint = locate(args.run, "best" if args.best else "last")
            model, config = rebuild_model(load_checkpoint(checkpoint), checkpoint)
        config = with_overrides(config, args.overrides, only=("data", "submasks", "train.device"))
        items = read_split(config.data.root, args.split, config.data.subsets).items
        items = [items[index] for index in evenly(len(items), args.images or len(items))]
        submasks = config.submasks if model and model.cascade else SubmaskConfig(method="whole")
        images = CompositeDataset(items, config.data, submasks)

    with connect(config.train.device) as world:
        oracle = Oracle(
            images,
            world=world,
            batch=config.evaluation.batch,
            workers=config.data.workers,
            methods={PAPER: parse_method(PAPER), **methods},
            correction=args.correction,
        )
        if model:
            rows = only(oracle.of_model(model.to(world.device)))
            names = {"input_": "Input composite", "coarse_": "Coarse", "": "Refined"}
            if not model.cascade:
                names = {"input_": "Input composite", "": "Baseline"}
        elif args.predictions:
            rows = only(oracle.of_predictions({"": args.predictions}, args.pattern)[""])
            names = {"input_": "Input composite", "": args.predictions.resolve().name}
        else:
            rows, names = only(oracle.of_input()), {"": "Input composite"}
        if not any(row.fg_ratio for row in rows):
            raise SharedError(f"data.root: no image of {config.data.root} has a foreground at data.size")
        if world.is_main:
            report(args, rows, names, evaluations)
        world.barrier()  # the others must not have gone before
    return 0


def report(args: argparse.Namespace, rows: list[Row], names: dict[str, str], evaluations: list[list[Row]]) -> None:
    """Prints and writes what was found."""
    of_systems = {name: left(rows, prefix, args.methods) for prefix, name in names.items()}
    of_methods = sizes(rows, args.methods)
    tables = [
        left_table(found, f"{name}: fMSE, and what is left of it after {CORRECTED[args.correction]} of each part")
        for name, found in of_systems.items()
    ]
    tables.append(size_table(of_methods))
    if evaluations:
        tables.append(difference_table(*evaluations, rows))
    print("\n\n".join(table.text() for table in tables))
    empty = [f"{row.subset}/{row.name}" for row in rows if not row.fg_ratio]
    if empty:
        print(f"\n{counted(len(empty), 'image')} without foreground left out, as {empty[0]}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        write_rows(args.out / "rows.csv", rows)
        write_whole(args.out / "oracle.md", "\n\n".join(table.markdown() for table in tables) + "\n")
        write_whole(args.out / "oracle.csv", as_csv(of_systems))
        about = {"correction": args.correction, "fmse": of_systems, "submasks": of_methods}
        write_whole(args.out / "oracle.json", json.dumps(about, indent=2) + "\n")
        print(f"\nwritten: oracle.md, oracle.csv, oracle.json, rows.csv in {args.out}")


def as_csv(of_systems: dict[str, dict[str, dict[str, float]]]) -> str:
    """A line for each system and sub-dataset."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    lines = [(name, subset, cell) for name, found in of_systems.items() for subset, cell in found.items()]
    writer.writerow(["system", "subset", *lines[0][2]])
    writer.writerows([name, subset, *cell.values()] for name, subset, cell in lines)
    return file.getvalue()


def parse() -> argparse.Namespace:
    """The command line: one of a run, a folder of predictions, or the composites; and overrides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN key.sub=value",
        help="a run, a checkpoint, weights (.safetensors, hf://USER/NAME); keys to change",
    )
    parser.add_argument("--predictions", type=Path, metavar="DIR", help="look at the images in this folder")
    parser.add_argument("--pattern", metavar="NAME", help='how predictions are named, as "{name}_out.png"')
    parser.add_argument("--input-composite", action="store_true", help="look at the composites themselves")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--images", type=int, metavar="N", help="of the split, evenly spaced; all by default")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), metavar="M", help=f"divisions (default: {' '.join(METHODS)})"
    )
    parser.add_argument("--correction", choices=list(CORRECTIONS), default="shift", help="default: shift")
    parser.add_argument("--evaluations", nargs=2, type=Path, metavar="DIR", help="two, of the same test split")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write tables and each image's figures there")
    args = parser.parse_intermixed_args()
    words = [*args.words, *(word for word in args.methods if "=" in word)]
    args.methods = list(dict.fromkeys(word for word in args.methods if "=" not in word))
    args.overrides = [word for word in words if "=" in word]
    runs = [Path(word) for word in words if "=" not in word]
    if len(runs) + bool(args.predictions) + args.input_composite != 1:
        raise UserError("give one of: a run (runs/frih), --predictions DIR, --input-composite")
    if args.images is not None and args.images < 1:
        raise UserError("--images: must be 1 or more")
    args.run = runs[0] if runs else None
    return args


def only(by_protocol: Rows) -> list[Row]:
    """The rows, which belong to no protocol."""
    (rows,) = by_protocol.values()
    return rows


if __name__ == "__main__":
    run_command(main)
