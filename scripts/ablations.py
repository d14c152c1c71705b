r"""Trains and evaluates the rows of the paper's ablations, and writes their tables with intervals and paired differences.

    python scripts/ablations.py --table 3 data.root=/datasets/iHarmony4 --processes 8
    python scripts/ablations.py --table all --recipes configs/labelme --photos PHOTOS --per-photo 3 --benchmark DIR --seeds 3 \
        --parallel 4 data.root=data/labelme3
    python scripts/ablations.py --table 3 --dry-run data.root=/datasets/iHarmony4

Tables 3 and 4 show the same four runs; "separate" trains the stages apart. Each row is evaluated once it is trained. Finished
rows are not done again, and stopped ones (Ctrl-C, --minutes, a crash) go on when the same command is given again. A row that
fails is named, and the others go on. Exit status 0 if all rows are finished, 2 if one failed, 130 if more is left to do.
"""

import argparse
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from frih.common.errors import STOPPED, USER_ERROR, UserError, run_command
from frih.common.files import locked, write_whole
from frih.common.paths import at_home, path_argument
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
    next_command,
    plan,
    progress,
    seconds_per_step,
)
from frih.tools.experiments.jobs import Outcome
from frih.tools.experiments.running import run_all
from frih.tools.journal import MANIFEST
from frih.training.stopping import stop_requests


def main() -> int:
    """Runs what is left to do, and writes the tables of the finished rows."""
    begun = time.monotonic()
    args = parse()
    tables = list(TABLES) if args.table == "all" else [args.table]
    parts = args.recipes.parts
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    out = args.out or Path("outputs", "ablations", *below)
    if args.photos and not make_training_set(args.photos, args.per_photo or 1, args.overrides, args.dry_run):
        return 0
    where = {"recipes": args.recipes, "out": out, "benchmark": args.benchmark}
    jobs = plan(tables, **where, overrides=args.overrides, seeds=args.seeds, processes=args.processes)
    check_data(jobs)
    if args.dry_run:
        print_plan(jobs, out)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    late = begun + 60 * args.minutes if args.minutes else float("inf")
    with locked(out / ".lock"), stop_requests() as stop:
        outcomes = run_all(jobs, out, args.parallel, args.processes, lambda: stop.is_set() or time.monotonic() > late)
        write_tables(tables, jobs, out)
    return conclude(outcomes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("overrides", nargs="*", metavar="key.sub=value", help="changes of every recipe")
    option("--table", choices=[*TABLES, "all"], required=True)
    option(
        "--recipes",
        type=path_argument,
        default=Path("configs"),
        metavar="DIR",
        help="has frih.yaml, ablations/ and cutoff/",
    )
    option("--out", type=path_argument, metavar="DIR", help="default: outputs/ablations/ and the recipes' folder")
    option("--seeds", type=int, default=1, metavar="N", help="runs of each row, from the recipe's seed on (default: 1)")
    option(
        "--benchmark",
        type=path_argument,
        metavar="DIR",
        help="data set to evaluate on; default: the test split of data.root",
    )
    option("--parallel", type=int, default=1, metavar="N", help="rows at once, on one GPU or several")
    option("--processes", type=int, default=1, metavar="N", help="of each row, by torchrun (GPUs)")
    option("--minutes", type=float, metavar="M", help="stop after so long; the next call goes on")
    option("--photos", type=path_argument, metavar="DIR", help="make data.root of these by make_composites.py, once")
    option(
        "--per-photo", type=int, metavar="K", help="with --photos: composites of a photo by each transfer (default: 1)"
    )
    option("--dry-run", action="store_true", help="list commands and costs, and run nothing")
    args = parser.parse_intermixed_args()
    counts = (args.seeds, args.parallel, args.processes, args.per_photo or 1)
    if min(counts) < 1 or (args.minutes is not None and args.minutes <= 0):
        raise UserError("--seeds, --parallel, --processes and --per-photo: must be 1 or more; --minutes: above 0")
    if args.per_photo and not args.photos:
        raise UserError("--per-photo: says how to make a data set of --photos, which are not given")
    reserved = [one for one in args.overrides if one.partition("=")[0].strip() == "run"]
    if reserved:
        raise UserError(f"{reserved[0]}: each row has a folder of its own below --out")
    return args


def make_training_set(photos: Path, per_photo: int, overrides: Sequence[str], dry_run: bool) -> bool:
    """Makes the data set of photos, or prints how; returns whether it is there."""
    roots = [one.partition("=")[2] for one in overrides if one.partition("=")[0].strip() == "data.root"]
    if not roots:
        raise UserError("--photos: give the folder of the data set to be made as well: data.root=data/labelme")
    root = Path(at_home(roots[-1]))
    if (root / MANIFEST).is_file():
        made_with = json.loads((root / MANIFEST).read_text(encoding="utf-8"))["settings"]["per_photo"]
        if made_with != per_photo:
            raise UserError(f"--per-photo: {root} was made with {made_with}; give that, or another data.root")
    elif dry_run:
        print(f"python scripts/make_composites.py {photos} {root} --per-photo {per_photo}")
        print("then this again: what the rows cost is known once it is made")
        return False
    else:
        print(describe(make_composites(photos, root, per_photo=per_photo)))
    return True


def print_plan(jobs: Sequence[Job], out: Path) -> None:
    """Every command that is left, and its cost."""
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


def write_tables(tables: Sequence[str], jobs: Sequence[Job], out: Path) -> None:
    """Writes and prints the tables of the finished rows."""
    found = evaluated_rows(jobs)
    for table in tables:
        text, figures = render(table, found, jobs[0].config.evaluation.protocol)
        write_whole(out / f"table-{table}.md", text + "\n")
        write_whole(out / f"table-{table}.json", json.dumps(figures, indent=2) + "\n")
        again = table == "4" and "3" in tables  # the same rows
        sheets = [] if again else write_images(first_evaluations(table, jobs, found), out / f"table-{table}")
        print(f"\n{text}\n\nwritten: {', '.join(map(str, (out / f'table-{table}.md', *sheets)))}")


def conclude(outcomes: Mapping[Job, Outcome]) -> int:
    """Prints what is left to do; returns the exit status."""
    failed = [job for job, outcome in outcomes.items() if outcome.state == "failed"]
    stopped = [job for job, outcome in outcomes.items() if outcome.state in ("stopped", "waiting")]
    left = [
        job for job in stopped if not progress(job).evaluated
    ]  # a job may be finished and yet never have been looked at
    words = [f"{len(outcomes) - len(failed) - len(left)} of {len(outcomes)} rows finished"]
    words += [f"failed: {'; '.join(job.name for job in failed)}"] if failed else []
    words += ["give the same command again to go on"] if left else []
    print("\n" + "; ".join(words))
    return USER_ERROR if failed else STOPPED if left else 0


def _duration(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"


if __name__ == "__main__":
    run_command(main)
