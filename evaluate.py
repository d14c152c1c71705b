"""Evaluates a run, anyone's images, or the composites themselves: MSE, PSNR and fMSE per sub-dataset and foreground ratio.

    python evaluate.py runs/frih [--best] [--split test] [--out DIR] [data.root=...]
    python evaluate.py hf://USER/NAME data.root=...         # or exported weights: frih.safetensors
    python evaluate.py --predictions DIR data.root=...      # images named as the composites are
    python evaluate.py --predictions ours=DIR dovenet=DIR2 data.root=...      # several, and their comparison
    python evaluate.py --input-composite data.root=...      # the "Input composite" rows of the paper's tables

Several processes (torchrun) share the images. Writes rows.csv (one line an image), summary.json, subsets.csv, ratios.csv,
report.md, report.html and, for a run, images.png; docs/evaluation.md says what they hold, and what a protocol is. What was
stopped goes on where it stood when the same command is given again.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from frih import __version__
from frih.common.distributed import connect
from frih.common.drawing import image_sheet
from frih.common.errors import UserError, alike, run_command
from frih.common.files import locked, write_whole
from frih.config import Config, EvaluationConfig
from frih.config.recipes import load_config, with_overrides
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import Evaluation, Rows, Show, draw_stages, evenly
from frih.evaluation.tables import METHODS, comparison, summarize
from frih.evaluation.unfinished import FinishedRows, file_digest, folder_digest, text_digest
from frih.evaluation.write import write_report
from frih.harmonizing.harmonizer import Harmonizer
from frih.metrics import METRICS, PROTOCOLS, Scoring
from frih.models.checkpoint import load_checkpoint, rebuild_model
from frih.models.locate import locate
from frih.tools.report import Thumbnails, compare, evaluation_page

DRAWN = 8
"""Images on the sheet, every n-th of the split."""


def main() -> int:
    """Evaluates what the command line names."""
    with alike():
        args = parse()
        model, checkpoint, config, about = None, None, load_config(None), {}
        if args.run:
            checkpoint = locate(args.run, "best" if args.best else "last")
            content = load_checkpoint(checkpoint)
            model, config = rebuild_model(content, checkpoint)
            about = {"checkpoint": str(checkpoint), "step": content["training"].get("step", 0)}
        config = with_overrides(config, args.overrides, only=("data", "evaluation", "submasks", "train.device"))
        listing = read_split(config.data.root, args.split, config.data.subsets)
        images = CompositeDataset(listing.items, config.data, config.submasks)
        settings = config.evaluation
        protocols = tuple(PROTOCOLS) if args.protocol == "all" else (settings.protocol,)
        scoring = Scoring(protocols, settings.metrics, settings.lpips)
        scoring.check()

    about |= {"split": args.split, "data": listing.describe()}
    about |= {"size": "original" if settings.original_size else config.data.size}
    if checkpoint:
        out, names = (
            args.out or evaluation_folder(args.run, checkpoint, args.split),
            ["Refined" if model.cascade else "Baseline"],
        )
    elif args.predictions:
        out, names = args.out or Path("outputs", "-".join(args.predictions)), list(args.predictions)
    else:
        out, names = args.out or Path("outputs", "input-composite"), [METHODS["input_"]]

    with connect(config.train.device) as world, ExitStack() as stack:
        with world.together():
            if world.is_main:
                print(listing.describe())
                out.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(out / ".lock"))
        finished = FinishedRows(out, what_is_evaluated(args, checkpoint, config, scoring, images))
        evaluation = Evaluation(
            images,
            scoring,
            world,
            batch=settings.batch,
            workers=config.data.workers,
            original=settings.original_size,
            finished=finished,
            show={} if len(scoring.protocols) > 1 else thumbnails(out, args.predictions),
        )
        if model:
            model.to(world.device)
            if settings.original_size:
                rows = {names[0]: evaluation.of_harmonizer(Harmonizer(model, config, world.device))}
            else:
                rows = {names[0]: evaluation.of_model(model)}
        elif args.predictions:
            rows = evaluation.of_predictions(args.predictions, args.pattern)
        else:
            rows = {names[0]: evaluation.of_input()}
        if world.is_main:
            print("\n" + write(out, rows, about) + "\n")
            if model:
                stages = draw_stages(model, images, evenly(len(images), DRAWN), world.device)
                Image.fromarray(image_sheet(stages)).save(out / "images.png")
            finished.remove()
            written = sorted(path.name + "/" * path.is_dir() for path in out.iterdir() if not path.name.startswith("."))
            print(f"written: {', '.join(written)} in {out}")
        world.barrier()  # the others must not have gone before
    return 0


def write(out: Path, rows: Mapping[str, Rows], about: Mapping[str, Any]) -> str:
    """Writes the evaluations of some systems by some protocols; returns tables for the console."""
    (name, by_protocol), *others = rows.items()
    if others:
        for system, one in rows.items():
            ((protocol, found),) = one.items()
            write_report(
                out / system, found, protocol, {**METHODS, "": system}, {"images": system, **about}, evaluation_page
            )
        return compare({system: out / system for system in rows}, out)
    names, about = {**METHODS, "": name}, {"images": name, **about}
    if len(by_protocol) == 1:
        return write_report(
            out, next(iter(by_protocol.values())), next(iter(by_protocol)), names, about, evaluation_page
        )
    for protocol, found in by_protocol.items():
        write_report(out / protocol, found, protocol, names, about, evaluation_page)
    summaries = {PROTOCOLS[protocol].users: summarize(found, protocol) for protocol, found in by_protocol.items()}
    table = comparison(summaries, {"": ""})[0]
    title = f"{name} by all protocols: the same images, other figures."
    write_whole(out / "protocols.md", f"{title}\n\n{table.markdown()}\n")
    return f"{title}\n\n{table.folded()}"


def what_is_evaluated(
    args: argparse.Namespace, checkpoint: Path | None, config: Config, scoring: Scoring, images: CompositeDataset
) -> dict[str, Any]:
    """All that decides the figures: finished rows of anything else are not used."""
    return {
        "frih": __version__,
        "scoring": scoring._asdict(),
        "original": config.evaluation.original_size,
        "size": config.data.size,
        "submasks": config.submasks.model_dump(),
        "images": text_digest(repr(list(images.items))),
        "checkpoint": file_digest(checkpoint) if checkpoint else None,
        "predictions": {name: [str(folder), folder_digest(folder)] for name, folder in args.predictions.items()},
        "pattern": args.pattern,
    }


def thumbnails(out: Path, predictions: Mapping[str, Path]) -> dict[str, Show]:
    """Where the images of the report are kept: in each system's folder."""
    if len(predictions) > 1:
        return {name: Thumbnails(out / name).add for name in predictions}
    return {next(iter(predictions), ""): Thumbnails(out).add}


def parse() -> argparse.Namespace:
    """The command line: one of a run, folders of predictions, or the composites; and overrides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN key.sub=value",
        help="a run, a checkpoint, weights (.safetensors, hf://USER/NAME); keys to change",
    )
    parser.add_argument(
        "--predictions", nargs="+", default=[], metavar="[NAME=]DIR", help="evaluate the images in these folders"
    )
    parser.add_argument("--input-composite", action="store_true", help="evaluate the composites themselves")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    parser.add_argument("--split", choices=["test", "train"], default="test")
    parser.add_argument(
        "--protocol", choices=[*PROTOCOLS, "all"], help="default: evaluation.protocol of the configuration"
    )
    parser.add_argument(
        "--metrics", metavar="NAMES", help=f"besides the paper's: all, or of {', '.join(METRICS)}, by commas"
    )
    parser.add_argument("--lpips", metavar="FILE", help="LPIPS as well, with these weights of AlexNet")
    parser.add_argument(
        "--size", metavar="N", help="compare at N x N pixels (default: data.size), or at the original size"
    )
    parser.add_argument("--pattern", metavar="NAME", help='how predictions are named, as "{name}_out.png"')
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: RUN/evaluation/SPLIT, or a folder in outputs/"
    )
    args = parser.parse_intermixed_args()
    words = [*args.words, *(word for word in args.predictions if is_override(word))]
    runs = [Path(word) for word in words if "=" not in word]
    args.overrides = [word for word in words if "=" in word] + given_as_options(args)
    args.predictions = named_folders([word for word in args.predictions if not is_override(word)])
    if len(runs) + bool(args.predictions) + args.input_composite != 1:
        raise UserError("give one of: a run (runs/frih), --predictions DIR, --input-composite")
    if args.protocol == "all" and len(args.predictions) > 1:
        raise UserError("--protocol all: takes one folder of predictions at a time")
    args.run = runs[0] if runs else None
    return args


def is_override(word: str) -> bool:
    """Whether a word behind --predictions is ``key.sub=value``, not ``name=DIR``."""
    key, equals, _ = word.partition("=")
    return bool(equals) and key.partition(".")[0] in Config.model_fields and "." in key


def given_as_options(args: argparse.Namespace) -> list[str]:
    """Options that are short for keys."""
    overrides = []
    if args.protocol and args.protocol != "all":
        overrides.append(f"evaluation.protocol={args.protocol}")
    if args.size:
        overrides.append("evaluation.original_size=true" if args.size == "original" else f"data.size={args.size}")
    if args.metrics or args.lpips:
        names = args.metrics or ",".join(EvaluationConfig().metrics)
        names = ",".join(name for name in METRICS if name != "lpips") if names == "all" else names
        overrides.append(f"evaluation.metrics=[{names}{',lpips' if args.lpips else ''}]")
    if args.lpips:
        overrides.append(f"evaluation.lpips={args.lpips}")
    return overrides


def named_folders(words: Sequence[str]) -> dict[str, Path]:
    """Folders of predictions by their names, which are those of the folders unless others are given."""
    folders: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        name = name if equals else path.resolve().name
        if not re.fullmatch(r"[\w.+-]+", name):
            raise UserError(f"--predictions {word}: write it as NAME=DIR, the name of letters, digits and .+-_")
        if name in folders:
            raise UserError(f"--predictions {word}: {name} is there already; give another name as NAME=DIR")
        folders[name] = path
    return folders


def evaluation_folder(given: Path, checkpoint: Path, split: str) -> Path:
    """In a run's folder, ``evaluation/test``, or ``evaluation/test-best`` for its best checkpoint; else in ``outputs/``."""
    run = checkpoint.parent.parent
    if not (run / "config.yaml").is_file():
        return Path("outputs", given.stem if given.is_file() else given.name, split)
    return run / "evaluation" / (split if checkpoint.stem == "last" else f"{split}-{checkpoint.stem}")


if __name__ == "__main__":
    run_command(main)
