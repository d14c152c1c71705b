"""The paper's ablations: which recipes make which table, how far each run of them has come, and what is to be done next.

A *row* is a recipe, and it is trained with one or more seeds. Everything is read from the runs' folders, so that whatever stops
the work, what is done stays done. :mod:`frih.tools.experiments.jobs` runs the commands, :mod:`frih.report` makes the tables.

::

    <out>/<row>/seed0/                       a run's folder, with log.txt: what its programs printed
    <out>/<row>/seed0/evaluation/<name>/     its evaluation
    <out>/costs.jsonl                        what was measured: a line for each piece of training
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import Config
from frih.config.recipes import differences, load_config
from frih.data.iharmony4 import Item, read_split
from frih.data.loader import GlobalBatchSampler
from frih.evaluation.rows import read_rows
from frih.metrics import Row
from frih.models.checkpoint import load_checkpoint
from frih.training.trainer import MAY_CHANGE, datasets


class Ablation(NamedTuple):
    """One row of a table."""

    recipe: str
    """Below the folder of recipes, without suffix."""
    title: str
    """As the paper has it."""
    short: str
    """For the head of a column."""


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
"""Rows of each table. Tables 3 and 4 show the same runs; the last is what the paper's introduction claims without figures."""

EVALUATED_WITH = ("data.workers", "train.device", "evaluation.")
"""Overrides that the evaluation takes as well."""


@dataclass(frozen=True)
class Job:
    """A row and a seed: one run and its evaluation."""

    row: str
    """Its recipe, as in :class:`Ablation`."""
    recipe: Path
    config: Config
    """As it will be, or is, trained."""
    folder: Path
    overrides: tuple[str, ...]
    benchmark: Path | None
    """Dataset to evaluate on; by default that of the training, whose test split is taken in either case."""
    processes: int = 1

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.row}, seed {self.config.seed}"

    @property
    def evaluation(self) -> Path:
        """The folder of its evaluation."""
        return self.folder / "evaluation" / ("benchmark" if self.benchmark else "test")

    @property
    def log(self) -> Path:
        """What its programs print."""
        return self.folder / "log.txt"


class Progress(NamedTuple):
    """How far a job has come."""

    step: int
    steps: int
    evaluated: bool
    """Whether an evaluation of the trained run is there."""


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
    """The jobs of some tables, each once, seed by seed: all rows of the first seed, then those of the second.

    Args:
        tables: names in :data:`TABLES`.
        recipes: folder with ``frih.yaml``, ``ablations/`` and ``cutoff/``, as ``configs`` has.
        out: folder of the runs.
        overrides: ``key=value``, of every row.
        seeds: how many; the first is the recipe's own.
        benchmark: dataset to evaluate on, if it is not that of the training.
        processes: of each training and evaluation.

    Raises:
        UserError: a recipe is missing or wrong, or a folder holds a run with other settings.
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
    """Looks for the images of all jobs, so that what is missing is told before anything is trained.

    Raises:
        UserError: a split cannot be listed, or has fewer images than a batch.
    """
    for job in jobs:
        training_steps(job.config)
        _test_items(job)


def progress(job: Job) -> Progress:
    """Looks how far a job has come.

    The evaluation counts if it is of the last step, by the job's protocol, of exactly the benchmark's composites, and not older
    than the checkpoint. The checkpoint need not be there any more.

    Raises:
        UserError: the dataset or the checkpoint cannot be read.
    """
    steps = training_steps(job.config)
    checkpoint = job.folder / "checkpoints" / "last.pt"
    evaluated = _is_evaluated(job, steps, checkpoint)
    if evaluated:
        return Progress(steps, steps, True)
    step = int(load_checkpoint(checkpoint)["training"].get("step", 0)) if checkpoint.is_file() else 0
    return Progress(step, steps, False)


def next_command(job: Job, state: Progress) -> list[str] | None:
    """What is to be run next, as one would type it: a start, a continuation, an evaluation, or nothing."""
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


def training_steps(config: Config) -> int:
    """Steps of a whole run, as the trainer counts them.

    Raises:
        UserError: the dataset cannot be listed, or has fewer images than a batch.
    """
    training, _ = datasets(_listing(config.data.root, "train", config.data.subsets), config)
    return config.train.epochs * len(
        GlobalBatchSampler(len(training), config.train.batch, seed=config.seed, world=World())
    )


def seconds_per_step(costs: Path, recipe: str) -> float | None:
    """What a step of a row has taken so far, start-up and validation included; None if nothing was measured."""
    pieces = [piece for piece in _read_lines(costs) if piece["recipe"] == recipe]
    steps = sum(piece["steps"] for piece in pieces)
    return sum(piece["seconds"] for piece in pieces) / steps if steps else None


def latest(run: Path) -> dict[str, float]:
    """The last figure of each kind that a run has logged, and its ``step``."""
    figures: dict[str, float] = {}
    for line in _read_lines(run / "metrics.jsonl"):
        figures |= line
    return figures


def evaluated_rows(jobs: Sequence[Job]) -> dict[str, dict[int, list[Row]]]:
    """Rows, one an image, of all jobs that are evaluated: by recipe, then by seed.

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
    """Folder of each finished row's evaluation, by the row's short title: of the first seed that all finished rows have.

    Args:
        table: its name in :data:`TABLES`.
        jobs: of all rows and seeds.
        evaluated: as :func:`evaluated_rows` finds them.
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
        old = checkpoint.is_file() and rows.stat().st_mtime_ns < checkpoint.stat().st_mtime_ns
        names = {(row.subset, row.name) for row in read_rows(rows)}
    except (OSError, ValueError):  # not there, or cut off
        return False
    if old or found["protocol"] != job.config.evaluation.protocol or found["about"]["step"] != steps:
        return False
    return names == {(item.subset, item.composite_name) for item in _test_items(job)}


def _test_items(job: Job) -> list[Item]:
    root, subsets = (str(job.benchmark), None) if job.benchmark else (job.config.data.root, job.config.data.subsets)
    return _listing(root, "test", subsets).items


_listing = lru_cache(maxsize=8)(read_split)


def refuse_others(jobs: Sequence[Job]) -> None:
    """Refuses to go on with runs that were begun with other settings: they would be compared as what they are not.

    Raises:
        UserError: it names each run and the keys that differ.
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


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON lines; a last one that is not whole is left out."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)
