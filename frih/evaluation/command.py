"""Command-line arguments that name what is evaluated: a run, predictions in files, or the composites themselves."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frih.common.errors import UserError
from frih.config import Config, SubmaskConfig
from frih.config.recipes import load_config, with_overrides
from frih.config.words import is_override, named_folders, split_words, taken_for_keys
from frih.models import Network
from frih.models.checkpoint import load_checkpoint, rebuild_model
from frih.models.locate import locate


class Subject(NamedTuple):
    """What is evaluated, with which configuration."""

    config: Config
    model: Network | None = None
    """None for predictions and composites."""
    checkpoint: Path | None = None
    """The model's file."""
    step: int = 0
    """Training steps of the model."""
    steps: int = 0
    """Steps of its whole run; 0 where its file does not say."""

    @property
    def name(self) -> str:
        """The network's name in tables: the paper's for FRIH and its ablations, else the configuration's; empty without."""
        model, method = self.config.model, self.config.submasks.method
        if not self.model or model.network != "frih":
            return model.network if self.model else ""
        if not model.cascade:
            return "Baseline"
        if not model.fusion:
            return f"Baseline+Cascade {'Globalmask' if method == 'whole' else 'Submask'}"
        return "FRIH" if method == SubmaskConfig().method else f"FRIH ({method})"

    @property
    def progress(self) -> str:
        """How far the run had come, as "step 20 of 2000"; empty if it had ended, or its file does not say."""
        return progress(self._asdict())


def progress(about: Mapping[str, Any]) -> str:
    """:attr:`Subject.progress` from the ``step`` and the ``steps`` that a report names."""
    step, steps = about.get("step"), about.get("steps")
    return f"step {step} of {steps}" if isinstance(step, int) and isinstance(steps, int) and step < steps else ""


def subject_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments that :func:`parse_subject` reads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="RUN key.sub=value",
        help="a run, a checkpoint, weights (.safetensors, hf://USER/NAME); keys to change",
    )
    parser.add_argument(
        "--predictions", nargs="+", default=[], metavar="[NAME=]DIR", help="take the images in these folders"
    )
    parser.add_argument("--pattern", metavar="NAME", help='how predictions are named, as "{name}_out.png"')
    parser.add_argument("--input-composite", action="store_true", help="take the composites themselves")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    parser.add_argument("--split", choices=["test", "train"], default="test")
    return parser


def parse_subject(parser: argparse.ArgumentParser, *several: str) -> argparse.Namespace:
    """Parses the command line.

    Args:
        parser: made by :func:`subject_parser`, perhaps with further arguments.
        several: further options that take several words. Keys to change may follow them, too.

    Returns:
        The arguments, with ``run``, a path or None; ``overrides``, a list of ``key.sub=value``; and ``predictions``, folders by
        name.

    Raises:
        UserError: there is not exactly one of a run, predictions and ``--input-composite``; or a folder has no proper name.
    """
    args = parser.parse_intermixed_args()
    runs, args.overrides = _split(args, "predictions", *several)
    if len(runs) + bool(args.predictions) + args.input_composite != 1:
        hint = taken_for_keys(args.overrides)
        raise UserError(f"give one of: a run (runs/frih), --predictions DIR, --input-composite{hint}")
    args.run = runs[0] if runs else None
    args.predictions = named_folders(args.predictions, "--predictions ")
    for name in args.predictions:
        if not re.fullmatch(r"[\w.+=-]+", name):
            raise UserError(
                f"--predictions {args.predictions[name]}: write it as NAME=DIR, the name of letters, digits and .+-_"
            )
    return args


def weights_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments that :func:`parse_weights` reads."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WEIGHTS key.sub=value", help="weights, and keys to change")
    parser.add_argument("--best", action="store_true", help="take the run's best checkpoint, not its last")
    return parser


def parse_weights(parser: argparse.ArgumentParser, *several: str) -> argparse.Namespace:
    """Parses the command line of a program that takes weights alone.

    Args:
        parser: made by :func:`weights_parser`, perhaps with further arguments.
        several: as in :func:`parse_subject`.

    Returns:
        The arguments, with ``run``, a path, and ``overrides``, a list of ``key.sub=value``.

    Raises:
        UserError: there is not exactly one path.
    """
    args = parser.parse_intermixed_args()
    runs, args.overrides = _split(args, *several)
    if len(runs) != 1:
        raise UserError(f"give weights: a run, a checkpoint or a file{taken_for_keys(args.overrides)}")
    args.run = runs[0]
    return args


def load_subject(args: argparse.Namespace, *, only: Sequence[str]) -> Subject:
    """What the arguments name, with the keys that they change.

    Args:
        args: from :func:`parse_subject` or :func:`parse_weights`.
        only: the keys and sections that may be changed.

    Raises:
        UserError: a checkpoint is missing or damaged, or a key cannot be changed.
    """
    subject = Subject(load_config(None))
    if args.run:
        checkpoint = locate(args.run, "best" if args.best else "last")
        content = load_checkpoint(checkpoint)
        model, config = rebuild_model(content, checkpoint)
        step, steps = (content["training"].get(key, 0) for key in ("step", "steps"))
        subject = Subject(config, model, checkpoint, step, steps)
    return subject._replace(config=with_overrides(subject.config, args.overrides, only=only))


def _split(args: argparse.Namespace, *several: str) -> tuple[list[Path], list[str]]:
    """The paths and the keys to change among the words. Such keys are taken out of options that take several words."""
    words = args.words
    for option in several:
        words = [*words, *filter(_is_override, getattr(args, option))]
        setattr(args, option, [word for word in getattr(args, option) if not _is_override(word)])
    return split_words(words)


def _is_override(word: str) -> bool:
    """Whether a word is ``key.sub=value``, not ``name=DIR``."""
    key = word.partition("=")[0]
    return is_override(word) and key.partition(".")[0] in Config.model_fields and "." in key
