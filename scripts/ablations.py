r"""Trains and evaluates the rows of the paper's ablations, and writes their tables with intervals and paired differences.

    python scripts/ablations.py --table 3 data.root=/datasets/iHarmony4 --processes 8
    python scripts/ablations.py --table all --recipes configs/labelme --photos PHOTOS --per-photo 3 --benchmark DIR --seeds 3 \
        --parallel 4 data.root=data/labelme3
    python scripts/ablations.py --table 3 --dry-run data.root=/datasets/iHarmony4

Tables 3 and 4 show the same four runs; "separate" trains the stages apart. What is finished is not done again, and what was
stopped (Ctrl-C, --minutes, a crash) goes on when the same command is given again. Each row is evaluated once it is trained.
The exit status is 0 when all rows are finished, 2 if one failed (it is named; the others go on), 130 if more is to be done.
"""

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from frih.common.errors import STOPPED, USER_ERROR, UserError, run_command
from frih.common.files import locked, write_whole
from frih.common.processes import cores
from frih.tools.composites.making import describe, make_composites
from frih.tools.experiments.ablation_images import write_images
from frih.tools.experiments.ablation_tables import render
from frih.tools.experiments.ablations import (
    TABLES,
    Job,
    Progress,
    check_data,
    evaluated_rows,
    first_evaluations,
    latest,
    next_command,
    plan,
    progress,
    seconds_per_step,
    training_steps,
)
from frih.tools.experiments.jobs import Outcome, Runner
from frih.tools.journal import MANIFEST
from frih.training.stopping import stop_requests

ROOT = Path(__file__).resolve().parents[1]
WATCHED = {"loss": "train/loss", "validation PSNR": "val/All/psnr"}
"""Figures shown of a running row."""


def main() -> int:
    """Runs what is left to be done, and writes the tables of what is finished."""
    begun = time.monotonic()
    args = parse()
    tables = list(TABLES) if args.table == "all" else [args.table]
    out = args.out or Path("outputs", "ablations", *_below_configs(args.recipes))
    if args.photos and not make_training_set(args.photos, args.per_photo or 1, args.overrides, args.dry_run):
        return 0
    jobs = plan(
        tables,
        recipes=args.recipes,
        out=out,
        overrides=args.overrides,
        seeds=args.seeds,
        benchmark=args.benchmark,
        processes=args.processes,
    )
    check_data(jobs)
    if args.dry_run:
        print_plan(jobs, out)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"), stop_requests() as stop:
        late = begun + 60 * args.minutes if args.minutes else None

        def stopping() -> bool:
            return stop.is_set() or (late is not None and time.monotonic() > late)

        outcomes = run_all(jobs, out, args.parallel, args.processes, stopping)
        write_tables(tables, jobs, out)
    return conclude(outcomes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="keys that differ from every recipe")
    parser.add_argument("--table", choices=[*TABLES, "all"], required=True)
    parser.add_argument(
        "--recipes", type=Path, default=Path("configs"), metavar="DIR", help="with frih.yaml, ablations/ and cutoff/"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: outputs/ablations/ and the recipes' folder")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs of each row, from seeds on (default: 1)"
    )
    parser.add_argument(
        "--benchmark", type=Path, metavar="DIR", help="data set to evaluate on; by default the test split of data.root"
    )
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="rows at once, on one GPU or several")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of each row, by torchrun (GPUs)")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long; the next call goes on")
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="make data.root of these by make_composites.py, once"
    )
    parser.add_argument(
        "--per-photo", type=int, metavar="K", help="with --photos: composites of a photo by each transfer (default: 1)"
    )
    parser.add_argument("--dry-run", action="store_true", help="list commands and costs, and run nothing")
    args = parser.parse_intermixed_args()
    if min(args.seeds, args.parallel, args.processes, args.per_photo or 1) < 1 or (
        args.minutes is not None and args.minutes <= 0
    ):
        raise UserError("--seeds, --parallel, --processes and --per-photo: must be 1 or more; --minutes: above 0")
    if args.per_photo and not args.photos:
        raise UserError("--per-photo: says how to make a data set of --photos, which are not given")
    reserved = [one for one in args.overrides if one.partition("=")[0].strip() == "run"]
    if reserved:
        raise UserError(f"{reserved[0]}: each row has a folder of its own below --out")
    return args


def make_training_set(photos: Path, per_photo: int, overrides: Sequence[str], dry_run: bool) -> bool:
    """Makes the data set of one's own photos, or only says how; whether it is there."""
    roots = [one.partition("=")[2] for one in overrides if one.partition("=")[0].strip() == "data.root"]
    if not roots:
        raise UserError("--photos: give the folder of the data set to be made as well: data.root=data/labelme")
    root = Path(roots[-1])
    if (root / MANIFEST).is_file():
        made_with = json.loads((root / MANIFEST).read_text(encoding="utf-8"))["settings"]["per_photo"]
        if made_with != per_photo:
            raise UserError(f"--per-photo: {root} was made with {made_with}; give that, or another data.root")
        return True
    if dry_run:
        print(f"python scripts/make_composites.py {photos} {root} --per-photo {per_photo}")
        print("then this again: what the rows cost is known once it is made")
        return False
    print(describe(make_composites(photos, root, per_photo=per_photo)))
    return True


def print_plan(jobs: Sequence[Job], out: Path) -> None:
    """Every command that is left, with what it costs."""
    total = 0.0
    for job in jobs:
        state = progress(job)
        each = seconds_per_step(out / "costs.jsonl", job.row)
        left = state.steps - state.step
        total += left * (each or 0)
        images = left * job.config.train.batch
        cost = f"{left} steps of {job.config.train.batch}: {images:,} images" if left else "trained"
        estimate = f", about {_duration(left * each)} at {each:.3f} s a step" if each and left else ""
        print(f"{job.name}: {'finished' if state.evaluated else cost + estimate}")
        while not state.evaluated:
            print(f"    {shlex.join(next_command(job, state) or [])}")
            state = Progress(state.steps, state.steps, state.step == state.steps)
    print(f"{len(jobs)} rows" + (f"; training about {_duration(total)} where it was measured" if total else ""))


def run_all(
    jobs: Sequence[Job], out: Path, parallel: int, processes: int, stopping: Callable[[], bool]
) -> Mapping[Job, Outcome]:
    r"""Trains and evaluates, telling a line at each change."""
    begun: dict[Job, tuple[int, float]] = {}
    costs = out / "costs.jsonl"

    def next_of(job: Job) -> Sequence[str] | None:
        state = progress(job)
        if job in begun:
            step, when = begun.pop(job)
            if state.step > step:
                piece = {"recipe": job.row, "steps": state.step - step, "seconds": time.monotonic() - when}
                with costs.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(piece) + "\n")
        if state.step < state.steps:
            begun[job] = (state.step, time.monotonic())
        return runnable(next_command(job, state))

    def tell(job: Job, text: str) -> None:
        print(f"{job.name:36} {describe_state(job) if text == 'begins' else text}", flush=True)

    runner = Runner(
        next_of,
        parallel,
        stopping,
        tell,
        lambda slot: environment(slot, parallel, processes),
        still=lambda job: tell(job, "begins"),
    )
    return runner.run(jobs)


def runnable(command: Sequence[str] | None) -> list[str] | None:
    """A command with this interpreter and this repository's programs, wherever it is called from."""
    if command is None:
        return None
    launcher = [sys.executable, *(["-m", "torch.distributed.run"] if command[0] == "torchrun" else [])]
    return [*launcher, *(str(ROOT / word) if word in ("train.py", "evaluate.py") else word for word in command[1:])]


def describe_state(job: Job) -> str:
    """How far a running job has come, by what it has logged."""
    figures, steps = latest(job.folder), training_steps(job.config)
    step = int(figures.get("step", 0))
    seen = "".join(f", {name} {figures[key]:.4g}" for name, key in WATCHED.items() if figures.get(key) is not None)
    return f"{'training' if step < steps else 'evaluating'}: step {step} of {steps}{seen}"


def environment(slot: int, parallel: int, processes: int) -> dict[str, str]:
    """GPUs and threads for the programs of a slot: GPUs are dealt out in turn, threads shared."""
    variables = {"PYTHONUNBUFFERED": "1"}
    if "OMP_NUM_THREADS" not in os.environ:
        variables["OMP_NUM_THREADS"] = str(max(1, cores() // (parallel * processes)))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
    if len(gpus) > processes:
        own = [gpus[(slot * processes + i) % len(gpus)] for i in range(processes)]
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return variables


def write_tables(tables: Sequence[str], jobs: Sequence[Job], out: Path) -> None:
    """Writes and prints what can be said of the rows that are finished."""
    found = evaluated_rows(jobs)
    for table in tables:
        text, figures = render(table, found, jobs[0].config.evaluation.protocol)
        write_whole(out / f"table-{table}.md", text + "\n")
        write_whole(out / f"table-{table}.json", json.dumps(figures, indent=2) + "\n")
        again = table == "4" and "3" in tables  # the same rows
        sheets = [] if again else write_images(first_evaluations(table, jobs, found), out / f"table-{table}")
        print(f"\n{text}\n\nwritten: {', '.join(map(str, (out / f'table-{table}.md', *sheets)))}")


def conclude(outcomes: Mapping[Job, Outcome]) -> int:
    """Says what is left to be done."""
    failed = [job for job, outcome in outcomes.items() if outcome.state == "failed"]
    open_ones = [job for job, outcome in outcomes.items() if outcome.state in ("stopped", "waiting")]
    left = [job for job in open_ones if not progress(job).evaluated]  # time may have been up before it was looked at
    print(f"\n{len(outcomes) - len(failed) - len(left)} of {len(outcomes)} rows finished", end="")
    print(f"; failed: {'; '.join(job.name for job in failed)}" if failed else "", end="")
    print("; give the same command again to go on" if left else "")
    return USER_ERROR if failed else STOPPED if left else 0


def _below_configs(recipes: Path) -> tuple[str, ...]:
    parts = recipes.parts
    return parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds > 5400
        else f"{seconds / 60:.0f} min"
        if seconds > 90
        else f"{seconds:.0f} s"
    )


if __name__ == "__main__":
    run_command(main)
