"""What the rows of ablations cost: seconds a step, as they were measured. What was never measured has no cost."""

import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, TypeAdapter

from frih.common.errors import UserError
from frih.common.files import append
from frih.common.lines import json_lines
from frih.common.wording import counted, duration
from frih.tools.experiments.ablations import Job, runnable, training
from frih.tools.experiments.jobs import Runner
from frih.training.logged import LOGGED

COSTS = "costs.jsonl"
"""The file of all pieces of training, in the folder of the rows."""


class Piece(BaseModel):
    """A piece of training: a line of ``costs.jsonl``."""

    recipe: str
    """The row's name."""
    steps: NonNegativeInt
    seconds: NonNegativeFloat


class Cost(NamedTuple):
    """What a step of a row takes."""

    seconds: float
    basis: str
    """What was measured."""

    def describe(self, steps: int) -> str:
        """The time of so many steps, and how it is known."""
        return f"about {duration(steps * self.seconds)} ({self.seconds:.3g} s a step, {self.basis})"


def note(out: Path, row: str, steps: int, seconds: float) -> None:
    """Adds a piece to ``costs.jsonl``."""
    out.mkdir(parents=True, exist_ok=True)
    append(out / COSTS, Piece(recipe=row, steps=steps, seconds=seconds).model_dump_json() + "\n")


def cost(out: Path, job: Job, jobs: Sequence[Job]) -> Cost | None:
    """What a step of a job takes, by ``costs.jsonl`` (with start-up and validation) or by the logs of its row's runs.

    Lines that cannot be read are passed over.

    Args:
        out: the folder of the rows.
        job: which one.
        jobs: all; those of the same row have the same settings but for the seed.

    Returns:
        None where nothing was measured.
    """
    pieces = [piece for _, piece in json_lines(out / COSTS, TypeAdapter(Piece)) if piece and piece.recipe == job.row]
    steps = sum(piece.steps for piece in pieces)
    if steps:
        return Cost(sum(piece.seconds for piece in pieces) / steps, f"timed in {counted(steps, 'step')}")
    rates = [rate for one in jobs if one.row == job.row for rate in _rates(one.folder)]
    return Cost(job.config.train.batch / statistics.harmonic_mean(rates), "by the row's log") if rates else None


@dataclass(frozen=True)
class _Trial:
    """The first steps of a job, in a folder that is thrown away."""

    job: Job
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def seconds(self) -> float | None:
        """Of a step, without the first steps."""
        rates = _rates(self.folder)
        return self.job.config.train.batch / rates[1] if len(rates) > 1 else None


def measure(job: Job, steps: int, environment: Mapping[str, str]) -> float:
    """Trains a job anew for twice so many steps, by its own program; returns the seconds of a step in the second half.

    Args:
        job: which one; its run must have as many steps.
        steps: how many are timed.
        environment: variables of the program.

    Raises:
        UserError: it failed, or ended before.
    """
    trial = _Trial(job, Path(tempfile.mkdtemp(prefix="frih-measure-")))
    keys = (f"logging.every={steps}", "validation.images=0")
    command = runnable([*training(job, trial.folder), *keys])
    outcome = Runner[_Trial](
        lambda trial: [command] if trial.seconds is None else [],
        stop=lambda: trial.seconds is not None,
        environment=lambda slot: environment,
    ).run([trial])[trial]
    seconds = trial.seconds
    if seconds is None:
        raise UserError(f"--measure: {job.name}: {outcome.reason or 'was stopped'}")
    shutil.rmtree(trial.folder)
    return seconds


def _rates(run: Path) -> list[float]:
    """Images a second, by each line of a run's log that has them."""
    name = "time/images_per_second"
    return [line[name] for _, line in json_lines(run / "metrics.jsonl", LOGGED) if line and line.get(name)]
