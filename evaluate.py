"""Evaluates a run, anyone's pictures, or the composites themselves: MSE, PSNR and fMSE per sub-dataset and foreground ratio.

    python evaluate.py runs/frih [--best] [--split test] [--out DIR] [data.root=...]
    python evaluate.py --predictions DIR data.root=...      # pictures named as the composites are
    python evaluate.py --input-composite data.root=...      # the "Input composite" rows of the paper's tables

Several processes (torchrun) share the pictures. Writes rows.csv (one line a picture), summary.json, subsets.csv, ratios.csv,
report.md and, for a run, pictures.png.
"""

import argparse
from functools import partial
from pathlib import Path

from PIL import Image

from frih.checkpoint import find_checkpoint, load_checkpoint, rebuild_model
from frih.data.iharmony4 import read_split
from frih.data.loader import Pictures
from frih.distributed import connect
from frih.drawing import picture_sheet
from frih.errors import UserError, run_command
from frih.evaluation import draw_stages, evaluate_input, evaluate_model, evaluate_predictions, evenly
from frih.metrics import PROTOCOLS
from frih.report import METHODS, write_report
from frih.settings import load_config, with_overrides

DRAWN = 8
"""Pictures on the sheet, every n-th of the split."""


def main() -> int:
    """Evaluates what the command line names."""
    args = parse()
    model, config, about = None, load_config(None), {}
    if args.run:
        path = find_checkpoint(args.run, "best" if args.best else "last")
        content = load_checkpoint(path)
        model, config = rebuild_model(content, path)
        about = {"checkpoint": str(path), "step": content["training"].get("step", 0)}
    config = with_overrides(config, args.overrides, only=("data", "evaluation", "submasks", "train.device"))
    settings = config.evaluation
    protocol = args.protocol or settings.protocol

    with connect(config.train.device) as world:
        listing = read_split(config.data.root, args.split, config.data.subsets)
        pictures = Pictures(listing.items, config.data, config.submasks)
        if world.is_main:
            print(listing.describe())
        if model:
            model.to(world.device)
            evaluate = partial(evaluate_model, model)
            name, out = "Refined" if model.cascade else "Baseline", evaluation_folder(path, args.split)
        elif args.predictions:
            evaluate = partial(evaluate_predictions, args.predictions)
            name, out = args.predictions.resolve().name, Path("outputs", args.predictions.resolve().name)
        else:
            evaluate, name, out = partial(evaluate_input), METHODS["input_"], Path("outputs", "input-composite")
        rows = evaluate(pictures, protocol=protocol, batch=settings.batch, workers=config.data.workers, world=world)
        if world.is_main:
            out = args.out or out
            about |= {"pictures": name, "split": args.split, "data": listing.describe(), "size": config.data.size}
            print("\n" + write_report(out, rows, protocol, {**METHODS, "": name}, about) + "\n")
            if model:
                stages = draw_stages(model, pictures, evenly(len(pictures), DRAWN), world.device)
                Image.fromarray(picture_sheet(stages)).save(out / "pictures.png")
            print(f"written: {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")
    return 0


def parse() -> argparse.Namespace:
    """The command line: one of a run, a folder of predictions, or the composites; and overrides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words", nargs="*", metavar="RUN key.sub=value", help="a run's folder or a checkpoint; keys to change"
    )
    parser.add_argument("--predictions", type=Path, metavar="DIR", help="evaluate the pictures in this folder")
    parser.add_argument("--input-composite", action="store_true", help="evaluate the composites themselves")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument("--protocol", choices=list(PROTOCOLS), help="default: evaluation.protocol of the configuration")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: RUN/evaluation/SPLIT, or a folder in outputs/"
    )
    args = parser.parse_intermixed_args()
    runs = [Path(word) for word in args.words if "=" not in word]
    args.overrides = [word for word in args.words if "=" in word]
    if len(runs) + bool(args.predictions) + args.input_composite != 1:
        raise UserError("give one of: a run (runs/frih), --predictions DIR, --input-composite")
    args.run = runs[0] if runs else None
    return args


def evaluation_folder(checkpoint: Path, split: str) -> Path:
    """In a run's folder, ``evaluation/test``, or ``evaluation/test-best`` for its best checkpoint; else in ``outputs/``."""
    run = checkpoint.parent.parent
    if not (run / "config.yaml").is_file():
        return Path("outputs", checkpoint.stem, split)
    return run / "evaluation" / (split if checkpoint.stem == "last" else f"{split}-{checkpoint.stem}")


if __name__ == "__main__":
    run_command(main)
