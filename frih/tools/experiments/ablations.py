"""The ablations: the rows of each table, how far each run has come, and its next commands.

A *row* is a recipe with some keys changed, trained with one or more seeds. Everything is read from the runs' folders, so that
finished work is kept whatever stops it. :mod:`frih.tools.experiments.jobs` runs the commands,
:mod:`frih.tools.experiments.ablation_tables` makes the tables.

::

    <out>/<row>/seed0/                       a run's folder (without "ablations/"); log.txt has what its programs printed
    <out>/<row>/seed0/evaluation/<name>/     its evaluation on the benchmark of that name, or on its own "test" split
    <out>/costs.jsonl                        a line for each piece of training: its steps and seconds
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.common.files import sha256_of
from frih.config import Config
from frih.config.recipes import differences, load_config
from frih.data.held_out import with_held_out
from frih.data.iharmony4 import Item, read_split
from frih.data.loader import GlobalBatchSampler
from frih.evaluation.rows import read_rows
from frih.metrics import Row
from frih.models.checkpoint import load_checkpoint
from frih.training.images import datasets
from frih.training.trainer import MAY_CHANGE

ROOT = Path(__file__).resolve().parents[3]
"""The repository, where ``train.py`` and ``evaluate.py`` are."""


class Ablation(NamedTuple):
    """One row of a table."""

    recipe: str
    """Its path below the folder of recipes, without suffix."""
    title: str
    """Its name in tables; the paper's, if it is there."""
    short: str
    """Its name as a column's heading."""
    keys: tuple[str, ...] = ()
    """``key.sub=value`` on top of the recipe."""
    folder: str = ""
    """Below the folder of all runs; by default the recipe's path."""

    @property
    def name(self) -> str:
        """Its name in messages and in ``costs.jsonl``."""
        return self.folder or self.recipe


FRIH = Ablation("frih", "Baseline+Cascade Submask+Fusion", "FRIH")
GLOBALMASK = "ablations/cascade_globalmask"
SUBMASK = "ablations/cascade_submask"
PARTS = (
    Ablation("ablations/baseline", "Baseline", "baseline"),
    Ablation(GLOBALMASK, "Baseline+Cascade Globalmask", "globalmask"),
    Ablation(SUBMASK, "Baseline+Cascade Submask", "submask"),
    FRIH,
)
CUTOFFS = tuple(
    Ablation("frih", f"d_c = {cutoff}", f"d_c = {cutoff}", (f"submasks.cutoff={cutoff}",), f"cutoff/{cutoff}")
    for cutoff in (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
)


def _division(title: str, short: str, method: str, *keys: str) -> Ablation:
    folder = "-".join([f"divisions/{method}", *(key.partition("=")[2] for key in keys)])
    return Ablation("frih", title, short, (f"submasks.method={method}", *(f"submasks.{key}" for key in keys)), folder)


DIVISIONS = (
    _division("Whole mask", "whole", "whole"),
    _division("Random parts (8)", "random 8", "random", "clusters=8"),
    _division("K-means (4)", "k-means 4", "kmeans", "clusters=4"),
    _division("K-means (8)", "k-means 8", "kmeans", "clusters=8"),
    _division("Density peaks by gamma (d_c = 0.1)", "gamma", "gamma", "cutoff=0.1"),
    _division("Density peaks (d_c = 0.02)", "d_c = 0.02", "cfsfdp", "cutoff=0.02"),
    _division("Density peaks (d_c = 0.1), FRIH", "d_c = 0.1", "cfsfdp", "cutoff=0.1"),
)
EQUATION_8, PIXELS = "loss.equal=submasks", "loss.equal=pixels"
LOSSES = (
    Ablation(GLOBALMASK, "Globalmask", "globalmask"),
    Ablation(GLOBALMASK, "Globalmask (refine loss x 8)", "g. x 8", ("loss.refine_weight=8",), "loss/globalmask-x8"),
    Ablation(SUBMASK, "Submask (equation 8)", "s. eq. 8", (EQUATION_8,), "loss/submask-equation-8"),
    Ablation(SUBMASK, "Submask (equal pixels)", "s. pixels", (PIXELS,), "loss/submask-pixels"),
    Ablation("frih", "FRIH (equation 8)", "FRIH eq. 8", (EQUATION_8,), "loss/frih-equation-8"),
    Ablation("frih", "FRIH (equal pixels)", "FRIH pixels", (PIXELS,), "loss/frih-pixels"),
)
"""Globalmask has one submask, for which equation 8 and equal pixels are the same."""
TABLES = {
    "3": PARTS,
    "4": PARTS,
    "5": CUTOFFS,
    "separate": (
        Ablation("ablations/separate", "Stages trained apart", "apart"),
        Ablation("frih", "Trained end to end (FRIH)", "end to end"),
    ),
    "divisions": DIVISIONS,
    "loss": LOSSES,
}
"""Rows of each table. Tables 3 and 4 show the same runs. The paper's introduction claims what "separate" tests, without
figures; it has no tables like the last two."""
CLAIMS = ("3", "4", "5", "separate")
"""The tables of what the paper claims."""
PROGRAMS = ("train.py", "evaluate.py", "scripts/recalibrate.py")
EVALUATED_WITH = ("data.workers", "train.device", "evaluation.")
"""Overrides that the evaluation takes too."""


class Target(NamedTuple):
    """A data set whose test split is evaluated."""

    name: str
    root: str | None
    subsets: tuple[str, ...] | None


@dataclass(frozen=True)
class Job:
    """A row and a seed: one run and its evaluations."""

    row: str
    """Its name, as in :class:`Ablation`."""
    recipe: Path
    config: Config
    """The resolved recipe."""
    folder: Path
    overrides: tuple[str, ...]
    """The row's keys, then those of the command line."""
    benchmarks: tuple[Path, ...] = ()
    """The data sets to evaluate on; by default that of the training."""
    processes: int = 1
    stands_for: tuple[str, ...] = ()
    """The names of all rows that are this run."""
    recalibrate: int = 0
    """Images on which the running statistics are measured anew before the evaluation; 0: it takes those of the training."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.row}, seed {self.config.seed}"

    @property
    def targets(self) -> tuple[Target, ...]:
        """The data sets to evaluate on, as their folders are named."""
        if not self.benchmarks:
            return (Target("test", self.config.data.root, self.config.data.subsets),)
        return tuple(Target(_name(folder), str(folder), None) for folder in self.benchmarks)

    def evaluation(self, target: str) -> Path:
        """The folder of the evaluation on a target, by its name."""
        return (
            self.folder / "evaluation" / (f"{target}-recalibrated-{self.recalibrate}" if self.recalibrate else target)
        )

    @property
    def weights(self) -> Path:
        """The file that is evaluated."""
        recalibrated = self.folder / f"recalibrated-{self.recalibrate}.safetensors"
        return recalibrated if self.recalibrate else self.folder / "checkpoints" / "last.pt"

    @property
    def log(self) -> Path:
        """The file that gets what its programs print."""
        return self.folder / "log.txt"


class Progress(NamedTuple):
    """How far a job has come."""

    step: int
    steps: int
    left: tuple[str, ...]
    """Names of the targets that it is still to be evaluated on."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step == self.steps and not self.left


def plan(
    tables: Sequence[str],
    *,
    recipes: Path,
    out: Path,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    benchmarks: Sequence[Path] = (),
    processes: int = 1,
    recalibrate: int = 0,
) -> list[Job]:
    """The jobs of some tables, each once: all rows of the first seed, then those of the second, and so on.

    A row whose keys change nothing of its recipe is the run of the recipe itself.

    Args:
        tables: names in :data:`TABLES`.
        recipes: a folder with ``frih.yaml`` and ``ablations/``, as ``configs`` has.
        out: the folder of the runs.
        overrides: ``key=value`` for every row.
        seeds: how many; the first is the recipe's own.
        benchmarks: the data sets to evaluate on, if not that of the training.
        processes: for each training and evaluation.
        recalibrate: as in :class:`Job`.

    Raises:
        UserError: a recipe is missing or wrong, two benchmarks have one name, an override is of a key in which the rows differ,
            or a folder has a run with other settings.
    """
    _refuse_clashes(tables, recipes, overrides, benchmarks)
    runs: dict[str, list[Ablation]] = {}
    for row in dict.fromkeys(row for table in tables for row in TABLES[table]):
        recipe = recipes / f"{row.recipe}.yaml"
        same = load_config(recipe, [*row.keys, *overrides]) == load_config(recipe, overrides)
        runs.setdefault(row.recipe if same else row.name, []).append(row)
    jobs = []
    for number in range(seeds):
        for name, rows in runs.items():
            recipe, keys = recipes / f"{rows[0].recipe}.yaml", () if name == rows[0].recipe else rows[0].keys
            words, stands_for = (*keys, *overrides), tuple(dict.fromkeys(row.name for row in rows))
            seed = load_config(recipe, words).seed + number
            folder = _folder(out, name) / f"seed{seed}"
            config = load_config(recipe, [*words, f"seed={seed}", f"run={folder}"])
            jobs.append(Job(name, recipe, config, folder, words, tuple(benchmarks), processes, stands_for, recalibrate))
    refuse_others(jobs)
    return jobs


def check_data(jobs: Sequence[Job]) -> None:
    """Looks for the images of all jobs before anything is trained.

    Raises:
        UserError: a split cannot be listed, or has fewer images than a batch.
    """
    for job in jobs:
        training_steps(job.config)
        for target in job.targets:
            _test_items(target)


def progress(job: Job) -> Progress:
    """How far a job has come.

    An evaluation counts if it is of the last step, by the job's protocol, of exactly the target's composites, and of this
    very checkpoint. The checkpoint itself may be gone.

    Raises:
        UserError: the dataset or the checkpoint cannot be read.
    """
    steps = training_steps(job.config)
    checkpoint = job.folder / "checkpoints" / "last.pt"
    left = tuple(target.name for target in job.targets if not _is_evaluated(job, target, steps))
    if not left:
        return Progress(steps, steps, ())
    step = int(load_checkpoint(checkpoint)["training"].get("step", 0)) if checkpoint.is_file() else 0
    return Progress(step, steps, left)


def next_commands(job: Job, state: Progress) -> list[list[str]]:
    """What a job can go on with, as a user would type it: the first of training, statistics, and all evaluations left."""
    return next(iter(stages(job, state)), [])


def stages(job: Job, state: Progress) -> list[list[list[str]]]:
    """All commands that are left of a job, stage by stage; those of a stage do not depend on each other."""
    trains = [training(job)] if state.step < state.steps else []
    measures = [recalibration(job)] if job.recalibrate and state.left and not job.weights.is_file() else []
    return [stage for stage in (trains, measures, evaluations(job, state)) if stage]


def training(job: Job, folder: Path | None = None) -> list[str]:
    """The command that starts or resumes a job's training, in its folder or in another."""
    folder = folder or job.folder
    if (folder / "config.yaml").is_file():
        changed = [one for one in job.overrides if one.partition("=")[0].strip() in MAY_CHANGE]
        return [*_program(job), "train.py", "--resume", str(folder), *changed]
    words = [*job.overrides, f"seed={job.config.seed}", f"run={folder}"]
    return [*_program(job), "train.py", str(job.recipe), *words]


def recalibration(job: Job) -> list[str]:
    """The command that measures a job's running statistics anew."""
    count = ["--images", str(job.recalibrate), "--batch", str(min(16, job.recalibrate))]
    words = [one for one in job.overrides if one.startswith(("train.device", "data.root"))]
    return ["python", "scripts/recalibrate.py", str(job.folder), "--out", str(job.weights), *count, *words]


def evaluations(job: Job, state: Progress) -> list[list[str]]:
    """The commands that evaluate a job on the targets that are left."""
    words = [one for one in job.overrides if one.startswith(EVALUATED_WITH)]
    commands = []
    for target in job.targets:
        data = [
            f"data.root={target.root}",
            *(["data.subsets=null"] if target.subsets != job.config.data.subsets else []),
        ]
        out = str(job.evaluation(target.name))
        if target.name in state.left:
            subject = str(job.weights if job.recalibrate else job.folder)
            commands.append([*_program(job), "evaluate.py", subject, "--out", out, *words, *data])
    return commands


def _program(job: Job) -> list[str]:
    several = ["torchrun", "--standalone", "--nproc-per-node", str(job.processes)]
    return several if job.processes > 1 else ["python"]


def runnable(command: Sequence[str]) -> list[str]:
    """A command of :func:`next_commands` with this interpreter and the repository's programs, for any working folder."""
    launcher = [sys.executable, *(["-m", "torch.distributed.run"] if command[0] == "torchrun" else [])]
    return [*launcher, *(str(ROOT / word) if word in PROGRAMS else word for word in command[1:])]


def training_steps(config: Config) -> int:
    """The steps of a whole run, as the trainer counts them.

    Raises:
        UserError: the dataset cannot be listed, or has fewer images than a batch.
    """
    listing = _listing(config.data.root, "train", config.data.subsets)
    training, _ = datasets(with_held_out(listing, config), config)
    epoch = GlobalBatchSampler(len(training), config.train.batch, seed=config.seed, world=World())
    return config.train.epochs * len(epoch)


def evaluated_rows(jobs: Sequence[Job], target: str) -> dict[str, dict[int, list[Row]]]:
    """The figures of all jobs that have been evaluated on a target, one row an image: by the ablation's name, then by seed.

    Raises:
        UserError: an evaluation cannot be read.
    """
    found: dict[str, dict[int, list[Row]]] = {}
    for job in jobs:
        if target not in progress(job).left:
            rows = read_rows(job.evaluation(target) / "rows.csv")
            for name in job.stands_for:
                found.setdefault(name, {})[job.config.seed] = rows
    return found


def first_evaluations(
    table: str, jobs: Sequence[Job], target: str, evaluated: Mapping[str, Mapping[int, Sequence[Row]]]
) -> dict[str, Path]:
    """The folder of each finished row's evaluation by the row's short title, for the first seed that all finished rows have.

    ``jobs`` are all rows and seeds, and ``evaluated`` is what :func:`evaluated_rows` finds of them.
    """
    shown = [row for row in TABLES[table] if row.name in evaluated]
    seeds = set.intersection(*(set(evaluated[row.name]) for row in shown)) if shown else set()
    if not seeds:
        return {}
    first = [job for job in jobs if job.config.seed == min(seeds)]
    folders = {name: job.evaluation(target) for job in first for name in job.stands_for}
    return {row.short: folders[row.name] for row in shown}


def _is_evaluated(job: Job, target: Target, steps: int) -> bool:
    summary, rows = (job.evaluation(target.name) / name for name in ("summary.json", "rows.csv"))
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
        about = found["about"]
        names = {(row.subset, row.name) for row in read_rows(rows)}
    except (OSError, ValueError, KeyError, TypeError):  # missing, cut off, or another program's
        return False
    if found.get("protocol") != job.config.evaluation.protocol or about.get("step") != steps:
        return False
    if "sha256" in about and job.weights.is_file() and sha256_of(job.weights) != about["sha256"]:
        return False
    return names == {(item.subset, item.composite_name) for item in _test_items(target)}


def _test_items(target: Target) -> list[Item]:
    return _listing(target.root, "test", target.subsets).items


def _folder(out: Path, row: str) -> Path:
    """The folder of a row's runs. It has the recipe's ``ablations/`` only if it is there already, made by an older version."""
    older = out / row
    return older if older.is_dir() else out / row.removeprefix("ablations/")


def _name(folder: Path) -> str:
    return os.path.basename(os.path.abspath(folder))  # noqa: PTH100, PTH119  (a link keeps its own name)


def _refuse_clashes(tables: Sequence[str], recipes: Path, overrides: Sequence[str], benchmarks: Sequence[Path]) -> None:
    varied: dict[str, str] = {}
    for table in tables:
        first, *others = (load_config(recipes / f"{row.recipe}.yaml", row.keys) for row in TABLES[table])
        varied |= dict.fromkeys((key for other in others for key in differences(first, other)), table)
        varied |= {key.partition("=")[0]: table for row in TABLES[table] for key in row.keys}
    for word in overrides:
        if clash := varied.get(word.partition("=")[0].strip()):
            raise UserError(
                f"{word}: the rows of table {clash} differ in this key; leave it out, or take another table"
            )
    named: dict[str, Path | str] = {"test": "the test split of data.root"}
    for folder in benchmarks:
        other = named.setdefault(_name(folder), folder)
        if other is not folder:
            raise UserError(f"--benchmark {folder}: has the name of {other}; evaluations are kept by it, so rename one")


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
