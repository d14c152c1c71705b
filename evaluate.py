"""Evaluates a run, anyone's images, or the composites themselves: MSE, PSNR and fMSE per sub-dataset and foreground ratio.

    python evaluate.py runs/frih [--best] [--split test] [--out DIR] [data.root=...]
    python evaluate.py hf://USER/NAME data.root=...         # or exported weights: frih.safetensors
    python evaluate.py --predictions DIR data.root=...      # images named as the composites are
    python evaluate.py --predictions ours=DIR dovenet=DIR2 data.root=...      # several, and their comparison
    python evaluate.py --input-composite data.root=...      # the "Input composite" rows of the paper's tables
    python evaluate.py runs/frih --save-images DIR          # the harmonized images, too, as DIR/SUBSET/NAME.png

Several processes (torchrun) share the images. Writes rows.csv (one line for each image), summary.json, subsets.csv, ratios.csv,
report.md, report.html and, for a run, images.png; docs/evaluation.md says what they hold, and what a protocol is. An evaluation
that was stopped continues when the same command is given again.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frih import __version__
from frih.common.columns import wrapped
from frih.common.distributed import connect
from frih.common.drawing import image_sheet
from frih.common.errors import UserError, alike, extra, run_command
from frih.common.files import locked, made, sha256_of, whole_file, write_whole
from frih.common.paths import path_argument
from frih.common.wording import counted
from frih.config import EvaluationConfig
from frih.harmonizing.harmonizer import Harmonizer
from frih.models.folding import fold_normalization

with extra("train"):
    from frih.data.dataset import CompositeDataset, require_foreground
    from frih.data.iharmony4 import read_split
    from frih.evaluation import Evaluation, Rows, Show, draw_stages, evenly
    from frih.evaluation.command import Subject, load_subject, parse_subject, subject_parser
    from frih.evaluation.layout import fitted, markdown_text
    from frih.evaluation.tables import INPUT, comparison, methods, summarize
    from frih.evaluation.unfinished import FinishedRows, folder_state
    from frih.metrics import METRICS, PROTOCOLS, Scoring
    from frih.tools.report import SavedImages, Thumbnails, compare, write_report

DRAWN = 8
"""Images on the sheet, evenly spaced in the split."""
DECIDING = ("frih", "checkpoint", "images", "size", "original", "submasks")
"""What decides the harmonized images, of :func:`what_is_evaluated`."""


def main() -> int:
    """Evaluates what the command line names."""
    with alike():
        args = parse()
        subject = load_subject(args, only=("data", "evaluation", "submasks", "train.device"))
        config, settings = subject.config, subject.config.evaluation
        model = fold_normalization(subject.model) if subject.model else None
        listing = read_split(config.data.root, args.split, config.data.subsets)
        require_foreground(listing.items, f"the {args.split} split")
        images = CompositeDataset(listing.items, config.data, config.submasks)
        protocols = tuple(PROTOCOLS) if args.protocol == "all" else (settings.protocol,)
        scoring = Scoring(protocols, settings.metrics, settings.lpips)
        scoring.check()
        out = args.out or default_folder(args, subject)
        what = what_is_evaluated(args, subject, scoring, images)
        saved = None
        if args.save_images:
            saved = SavedImages(args.save_images, images.items, {key: what[key] for key in DECIDING})
            saved.refuse([Path(config.data.root), out])

    name, about = next(iter(args.predictions), INPUT), {}
    if model:
        name = f"{subject.name} ({subject.progress})" if subject.progress else subject.name
        about = {"checkpoint": str(subject.checkpoint), "step": subject.step, "sha256": what["checkpoint"]}
        about |= {"steps": subject.steps} if subject.steps else {}
    about |= {"split": args.split, "data": listing.describe()}
    about |= {"size": "original" if settings.original_size else config.data.size}
    about |= {"images in": str(args.save_images), "values": "8 bits, as these files have"} if saved else {}

    with connect(config.train.device) as world, ExitStack() as stack:
        with world.together():
            if world.is_main:
                print(wrapped(listing.describe()))
                stack.enter_context(made(out))
                stack.enter_context(locked(out / ".lock"))
                if saved:
                    stack.enter_context(saved.writing())
        finished = FinishedRows(out, what, saved.has if saved else None)
        several = len(args.predictions) > 1
        folders = {key: out / key if several else out for key in args.predictions or [""]}
        shows = {key: [Thumbnails(path).add] * (len(protocols) == 1) for key, path in folders.items()}
        if saved:
            shows[""].append(saved.add)
        evaluation = Evaluation(
            images,
            scoring,
            world,
            batch=settings.batch,
            workers=config.data.workers,
            original=settings.original_size,
            rounded=bool(saved),
            finished=finished,
            show={key: partial(show_all, ones) for key, ones in shows.items() if ones},
        )
        if model and settings.original_size:
            rows = {name: evaluation.of_harmonizer(Harmonizer(model.to(world.device), config, world.device))}
        elif model:
            rows = {name: evaluation.of_model(model.to(world.device))}
        elif args.predictions:
            rows = evaluation.of_predictions(args.predictions, args.pattern)
        else:
            rows = {name: evaluation.of_input()}
        if world.is_main:
            print("\n" + write(out, rows, about) + "\n")
            if model:
                stages = draw_stages(model, images, evenly(len(images), DRAWN), world.device)
                with whole_file(out / "images.png") as file:
                    sheet = image_sheet([list(row.values()) for row in stages], list(stages[0]))
                    Image.fromarray(sheet).save(file, "PNG")
            finished.remove()
            written = sorted(path.name + "/" * path.is_dir() for path in out.iterdir() if not path.name.startswith("."))
            print(wrapped(f"written: {', '.join(written)} in {out}"))
            if saved:
                print(f"written: {counted(len(images), 'image')} in {saved.folder}")
        world.barrier()  # no process may end before the others are done
    return 0


def show_all(shows: Sequence[Show], subset: str, name: str, stages: Mapping[str, np.ndarray]) -> None:
    """Gives the stages of an image to several."""
    for show in shows:
        show(subset, name, stages)


def write(out: Path, rows: Mapping[str, Rows], about: Mapping[str, Any]) -> str:
    """Writes the reports of some systems by some protocols; returns tables for the console."""
    texts = []
    for system, by_protocol in rows.items():
        for protocol, found in by_protocol.items():
            folder = out / system if len(rows) > 1 else out / protocol if len(by_protocol) > 1 else out
            texts.append(write_report(folder, found, protocol, methods(system), {"images": system, **about}))
    if len(texts) == 1:
        return texts[0]
    if len(rows) > 1:
        return compare({system: out / system for system in rows}, out)
    ((system, by_protocol),) = rows.items()
    summaries = {PROTOCOLS[protocol].users: summarize(found, protocol) for protocol, found in by_protocol.items()}
    table = comparison(summaries, {"": ""})[0]
    title = f"{system} by all protocols: the same images, other figures."
    write_whole(out / "protocols.md", f"{markdown_text(title)}\n\n{table.markdown()}\n")
    return "\n\n".join([title, *fitted([table])])


def what_is_evaluated(
    args: argparse.Namespace, subject: Subject, scoring: Scoring, images: CompositeDataset
) -> dict[str, Any]:
    """Everything that decides the figures: finished rows of anything else are not used."""
    return {
        "frih": __version__,
        "scoring": scoring._asdict(),
        "original": subject.config.evaluation.original_size,
        "size": subject.config.data.size,
        "submasks": subject.config.submasks.model_dump(mode="json"),
        "images": hashlib.sha256(repr(list(images.items)).encode()).hexdigest(),
        "checkpoint": sha256_of(subject.checkpoint),
        "predictions": {name: [str(folder), folder_state(folder)] for name, folder in args.predictions.items()},
        "pattern": args.pattern,
        "saved": str(args.save_images.resolve()) if args.save_images else None,
    }


def parse() -> argparse.Namespace:
    """The command line, with options that are short for keys among the ``overrides``."""
    parser = subject_parser(__doc__)
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
    parser.add_argument(
        "--out", type=path_argument, metavar="DIR", help="default: RUN/evaluation/SPLIT, or a folder in outputs/"
    )
    parser.add_argument(
        "--save-images",
        type=path_argument,
        metavar="DIR",
        help="write the harmonized images as well; the figures are then those of their 8 bits",
    )
    args = parse_subject(parser)
    if args.save_images and not args.run:
        raise UserError("--save-images: needs a run or weights, whose images they are")
    if args.protocol == "all" and len(args.predictions) > 1:
        raise UserError("--protocol all: takes one folder of predictions at a time")
    if args.protocol and args.protocol != "all":
        args.overrides.append(f"evaluation.protocol={args.protocol}")
    if args.size:
        args.overrides.append("evaluation.original_size=true" if args.size == "original" else f"data.size={args.size}")
    if args.metrics or args.lpips:
        names = args.metrics or ",".join(EvaluationConfig().metrics)
        names = ",".join(name for name in METRICS if name != "lpips") if names == "all" else names
        args.overrides.append(f"evaluation.metrics=[{names}{',lpips' if args.lpips else ''}]")
    if args.lpips:
        args.overrides.append(f"evaluation.lpips={args.lpips}")
    return args


def default_folder(args: argparse.Namespace, subject: Subject) -> Path:
    """``evaluation/test`` in a run's folder, or ``evaluation/test-best`` for its best checkpoint; else in ``outputs/``."""
    if not subject.checkpoint:
        return Path("outputs", "-".join(args.predictions) or "input-composite")
    run, which = subject.checkpoint.parent.parent, subject.checkpoint.stem
    if not (run / "config.yaml").is_file():
        return Path("outputs", args.run.stem if args.run.is_file() else args.run.name, args.split)
    return run / "evaluation" / (args.split if which == "last" else f"{args.split}-{which}")


if __name__ == "__main__":
    run_command(main)
