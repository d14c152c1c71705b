"""The paper's ablations: the recipes of each table, how far each run has come, and its next command.

A *row* is a recipe, trained with one or more seeds. Everything is read from the runs' folders, so that finished work is kept
whatever stops it. :mod:`frih.tools.experiments.jobs` runs the commands, :mod:`frih.tools.experiments.ablation_tables` makes the
tables.

::

    <out>/<row>/seed0/                       a run's folder; log.txt has what its programs printed
    <out>/<row>/seed0/evaluation/<name>/     its evaluation
    <out>/costs.jsonl                        a line for each piece of training: its steps and seconds
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt, TypeAdapter

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.common.files import sha256_of
from frih.common.lines import json_lines
from frih.config import Config
from frih.config.recipes import differences, load_config
from frih.data.held_out import with_held_out
from frih.data.iharmony4 import Item, read_split
from frih.data.loader import GlobalBatchSampler
from frih.evaluation.rows import read_rows
from frih.metrics import Row
from frih.models.checkpoint import load_checkpoint
from frih.training.trainer import MAY_CHANGE, datasets

ROOT = Path(__file__).resolve().parents[3]
"""The repository, where ``train.py`` and ``evaluate.py`` are."""


class Ablation(NamedTuple):
    """One row of a table."""

    recipe: str
    """Its path below the folder of recipes, without suffix."""
    title: str
    """Its name in the paper."""
    short: str
    """Its name as a column's heading."""


FRIH = Ablation("frih", "Baseline+Cascade Submask+Fusion", "FRIH")
PARTS = (
    Ablation("ablations/baseline", "Baseline", "baseline"),
    Ablation("ablations/cascade_globalmask", "Baseline+Cascade Globalmask", "globalmask"),
    Ablation("ablations/cascade_submask", "Baseline+Cascade Submask", "submask"),
    FRIH,
)
CUTOFFS = tuple(
    Ablation("frih" if cutoff == 0.1 else f"cutoff/{cutoff}", f"d_c = {cutoff}", f"d_c = {cutoff}")
    for cutoff in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
)
TABLES = {
    "3": PARTS,
    "4": PARTS,
    "5": CUTOFFS,
    "separate": (
        Ablation("ablations/separate", "Stages trained apart", "apart"),
        Ablation("frih", "Trained end to end (FRIH)", "end to end"),
    ),
}
"""Rows of each table. Tables 3 and 4 show the same runs. The paper's introduction claims the last one without figures."""
EVALUATED_WITH = ("data.workers", "train.device", "evaluation.")
"""Overrides that the evaluation takes too."""


@dataclass(frozen=True)
class Job:
    """A row and a seed: one run and its evaluation."""

    row: str
    """Its recipe, as in :class:`Ablation`."""
    recipe: Path
    config: Config
    """The resolved recipe."""
    folder: Path
    overrides: tuple[str, ...]
    benchmark: Path | None
    """The data set whose test split is evaluated; by default that of the training."""
    processes: int = 1

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.row}, seed {self.config.seed}"

    @property
    def evaluation(self) -> Path:
        """The folder of its evaluation."""
        return self.folder / "evaluation" / ("benchmark" if self.benchmark else "test")

    @property
    def log(self) -> Path:
        """The file that gets what its programs print."""
        return self.folder / "log.txt"


class Progress(NamedTuple):
    """How far a job has come."""

    step: int
    steps: int
    evaluated: bool
    """Whether the trained run has been evaluated."""


def plan(
    tables: Sequence[str],
    *,
    recipes: Path,
    out: Path,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    benchmark: Path | None = None,
    processes: int = 1,
) -> list[Job]:
    """The jobs of some tables, each once: all rows of the first seed, then those of the second, and so on.

    Args:
        tables: names in :data:`TABLES`.
        recipes: a folder with ``frih.yaml``, ``ablations/`` and ``cutoff/``, as ``configs`` has.
        out: the folder of the runs.
        overrides: ``key=value`` for every row.
        seeds: how many; the first is the recipe's own.
        benchmark: the data set to evaluate on, if not that of the training.
        processes: for each training and evaluation.

    Raises:
        UserError: a recipe is missing or wrong, or a folder has a run with other settings.
    """
    rows = list(dict.fromkeys(row.recipe for table in tables for row in TABLES[table]))
    jobs = []
    for number in range(seeds):
        for row in rows:
            recipe = recipes / f"{row}.yaml"
            seed = load_config(recipe, overrides).seed + number
            folder = out / row / f"seed{seed}"
            config = load_config(recipe, [*overrides, f"seed={seed}", f"run={folder}"])
            jobs.append(Job(row, recipe, config, folder, tuple(overrides), benchmark, processes))
    refuse_others(jobs)
    return jobs


def check_data(jobs: Sequence[Job]) -> None:
    """Looks for the images of all jobs before anything is trained.

    Raises:
        UserError: a split cannot be listed, or has fewer images than a batch.
    """
    for job in jobs:
        training_steps(job.config)
        _test_items(job)


def progress(job: Job) -> Progress:
    """How far a job has come.

    An evaluation counts if it is of the last step, by the job's protocol, of exactly the benchmark's composites, and of this
    very checkpoint. The checkpoint itself may be gone.

    Raises:
        UserError: the dataset or the checkpoint cannot be read.
    """
    steps = training_steps(job.config)
    checkpoint = job.folder / "checkpoints" / "last.pt"
    if _is_evaluated(job, steps, checkpoint):
        return Progress(steps, steps, True)
    step = int(load_checkpoint(checkpoint)["training"].get("step", 0)) if checkpoint.is_file() else 0
    return Progress(step, steps, False)


def next_command(job: Job, state: Progress) -> list[str] | None:
    """The next command of a job, as a user would type it: it starts, resumes or evaluates a run. None: the job is finished."""
    if state.evaluated:
        return None
    several = ["torchrun", "--standalone", "--nproc-per-node", str(job.processes)]
    program = several if job.processes > 1 else ["python"]
    if state.step < state.steps:
        if (job.folder / "config.yaml").is_file():
            changed = [one for one in job.overrides if one.partition("=")[0].strip() in MAY_CHANGE]
            return [*program, "train.py", "--resume", str(job.folder), *changed]
        words = [*job.overrides, f"seed={job.config.seed}", f"run={job.folder}"]
        return [*program, "train.py", str(job.recipe), *words]
    words = [one for one in job.overrides if one.startswith(EVALUATED_WITH)]
    words.append(f"data.root={job.benchmark or job.config.data.root}")
    if job.benchmark and job.config.data.subsets:
        words.append("data.subsets=null")
    return [*program, "evaluate.py", str(job.folder), "--out", str(job.evaluation), *words]


def runnable(command: Sequence[str] | None) -> list[str] | None:
    """A command of :func:`next_command` with this interpreter and the repository's programs, for any working folder."""
    if command is None:
        return None
    launcher = [sys.executable, *(["-m", "torch.distributed.run"] if command[0] == "torchrun" else [])]
    return [*launcher, *(str(ROOT / word) if word in ("train.py", "evaluate.py") else word for word in command[1:])]


def training_steps(config: Config) -> int:
    """The steps of a whole run, as the trainer counts them.

    Raises:
        UserError: the dataset cannot be listed, or has fewer images than a batch.
    """
    listing = _listing(config.data.root, "train", config.data.subsets)
    training, _ = datasets(with_held_out(listing, config), config)
    epoch = GlobalBatchSampler(len(training), config.train.batch, seed=config.seed, world=World())
    return config.train.epochs * len(epoch)


class Piece(BaseModel):
    """A piece of training: a line of ``costs.jsonl``."""

    recipe: str
    steps: NonNegativeInt
    seconds: NonNegativeFloat


def seconds_per_step(costs: Path, recipe: str) -> float | None:
    """The mean time of a row's step so far, with start-up and validation; None if nothing was measured.

    Lines that cannot be read are passed over.
    """
    pieces = [piece for _, piece in json_lines(costs, TypeAdapter(Piece)) if piece and piece.recipe == recipe]
    steps = sum(piece.steps for piece in pieces)
    return sum(piece.seconds for piece in pieces) / steps if steps else None


def evaluated_rows(jobs: Sequence[Job]) -> dict[str, dict[int, list[Row]]]:
    """The rows of all evaluated jobs, one an image: by recipe, then by seed.

    Raises:
        UserError: an evaluation cannot be read.
    """
    found: dict[str, dict[int, list[Row]]] = {}
    for job in jobs:
        if progress(job).evaluated:
            found.setdefault(job.row, {})[job.config.seed] = read_rows(job.evaluation / "rows.csv")
    return found


def first_evaluations(
    table: str, jobs: Sequence[Job], evaluated: Mapping[str, Mapping[int, Sequence[Row]]]
) -> dict[str, Path]:
    """The folder of each finished row's evaluation by the row's short title, for the first seed that all finished rows have.

    ``jobs`` are all rows and seeds, and ``evaluated`` is what :func:`evaluated_rows` finds of them.
    """
    shown = [row for row in TABLES[table] if row.recipe in evaluated]
    seeds = set.intersection(*(set(evaluated[row.recipe]) for row in shown)) if shown else set()
    if not seeds:
        return {}
    folders = {job.row: job.evaluation for job in jobs if job.config.seed == min(seeds)}
    return {row.short: folders[row.recipe] for row in shown}


def _is_evaluated(job: Job, steps: int, checkpoint: Path) -> bool:
    summary, rows = job.evaluation / "summary.json", job.evaluation / "rows.csv"
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
        about = found["about"]
        names = {(row.subset, row.name) for row in read_rows(rows)}
    except (OSError, ValueError, KeyError, TypeError):  # missing, cut off, or another program's
        return False
    if found["protocol"] != job.config.evaluation.protocol or about["step"] != steps:
        return False
    if "sha256" in about and checkpoint.is_file() and sha256_of(checkpoint) != about["sha256"]:
        return False
    return names == {(item.subset, item.composite_name) for item in _test_items(job)}


def _test_items(job: Job) -> list[Item]:
    root, subsets = (str(job.benchmark), None) if job.benchmark else (job.config.data.root, job.config.data.subsets)
    return _listing(root, "test", subsets).items


_listing = lru_cache(maxsize=8)(read_split)


def refuse_others(jobs: Sequence[Job]) -> None:
    """Refuses to resume runs that were begun with other settings.

    Raises:
        UserError: naming each such run and the keys that differ.
    """
    faults = []
    for job in jobs:
        if (job.folder / "config.yaml").is_file():
            found = differences(load_config(job.folder / "config.yaml"), job.config)
            changed = [
                f"{key} {theirs}, not {ours}"
                for key, (theirs, ours) in found.items()
                if key not in (*MAY_CHANGE, "run") and not key.startswith("evaluation.")
            ]
            if changed:
                faults.append(f"{job.folder}: was begun with {', '.join(changed)}")
    if faults:
        raise UserError("\n".join(faults) + "\ngive the same settings, another --out, or remove these folders")
