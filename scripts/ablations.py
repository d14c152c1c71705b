r"""Trains and evaluates the rows of ablations, and writes their tables with intervals and paired differences.

    python scripts/ablations.py --table 3 data.root=/datasets/iHarmony4 --processes 8
    python scripts/ablations.py --table paper --recipes configs/photos --photos PHOTOS --per-photo 3 --benchmark DIR DIR2 \
        --seeds 3 --parallel 4 data.root=data/photos
    python scripts/ablations.py --table all --dry-run data.root=/datasets/iHarmony4

The paper's Tables 3 and 4 show the same four runs, and "separate" trains the stages apart: these and Table 5 are "paper".
"divisions" divides the foreground by other rules, and "loss" weighs the submasks otherwise. Each row is evaluated once it is
trained. Finished rows are not done again, and stopped ones (Ctrl-C, --minutes, a crash) go on when the same command is given
again. A row that fails is named, and the others go on. Exit status 0 if all rows are finished, 2 if one failed, 130 if more is
left to do.

Tables are table-3.md, .tex, .csv and .json; with benchmarks table-3-NAME.md and so on for each, NAME being its folder's.
"""

import argparse
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

from frih.common.cells import write_csv
from frih.common.columns import wrapped
from frih.common.errors import STOPPED, USER_ERROR, UserError, extra, run_command
from frih.common.files import locked, made, write_whole
from frih.common.paths import at_home, path_argument
from frih.common.wording import counted, duration
from frih.config.words import split_words

with extra("train"):
    from frih.tools.composites.making import describe, make_composites
    from frih.tools.experiments.ablation_images import write_images
    from frih.tools.experiments.ablation_tables import render
    from frih.tools.experiments.ablations import (
        CLAIMS,
        TABLES,
        Job,
        check_data,
        evaluated_rows,
        first_evaluations,
        plan,
        progress,
        stages,
    )
    from frih.tools.experiments.costs import cost, measure, note
    from frih.tools.experiments.jobs import Outcome
    from frih.tools.experiments.running import environment, run_all
    from frih.tools.journal import MANIFEST
    from frih.training.stopping import stop_requests


def main() -> int:
    """Runs what is left to do, and writes the tables of the finished rows."""
    begun = time.monotonic()
    args = parse()
    tables = {"all": list(TABLES), "paper": list(CLAIMS)}.get(args.table, [args.table])
    parts = args.recipes.parts
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    out = args.out or Path("outputs", "ablations", *below)
    if args.photos and not make_training_set(args.photos, args.per_photo or 1, args.overrides, args.dry_run):
        return 0
    where = {"recipes": args.recipes, "out": out, "benchmarks": args.benchmark}
    how = {"seeds": args.seeds, "processes": args.processes, "recalibrate": args.recalibrate}
    jobs = plan(tables, **where, **how, overrides=args.overrides)
    check_data(jobs)
    if args.dry_run:
        with locked(out / ".lock") if args.measure else nullcontext():
            print_plan(jobs, out, args.measure, args.processes)
        return 0
    late = begun + 60 * args.minutes if args.minutes else float("inf")
    with made(out), locked(out / ".lock"), stop_requests() as stop:
        outcomes = run_all(jobs, out, args.parallel, args.processes, lambda: stop.is_set() or time.monotonic() > late)
        write_tables(tables, jobs, out)
    return conclude(outcomes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("overrides", nargs="*", metavar="key.sub=value", help="changes of every recipe")
    option("--table", choices=[*TABLES, "paper", "all"], required=True)
    option("--recipes", type=path_argument, default=Path("configs"), metavar="DIR", help="has frih.yaml and ablations/")
    option("--out", type=path_argument, metavar="DIR", help="default: outputs/ablations/ and the recipes' folder")
    option("--seeds", type=int, default=1, metavar="N", help="runs of each row, from the recipe's seed on (default: 1)")
    option(
        "--benchmark",
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="data sets to evaluate on; default: the test split of data.root",
    )
    statistics = "measure each row's running statistics anew on so many whole images (scripts/recalibrate.py)"
    option("--recalibrate", type=int, default=0, metavar="N", help=statistics)
    option("--parallel", type=int, default=1, metavar="N", help="rows at once, on one GPU or several")
    option("--processes", type=int, default=1, metavar="N", help="of each row, by torchrun (GPUs)")
    option("--minutes", type=float, metavar="M", help="stop after so long; the next call goes on")
    option("--photos", type=path_argument, metavar="DIR", help="make data.root of these by make_composites.py, once")
    option(
        "--per-photo", type=int, metavar="K", help="with --photos: composites of a photo by each transfer (default: 1)"
    )
    option(
        "--dry-run", action="store_true", help="list commands and what they cost by what was measured; train nothing"
    )
    timed = "with --dry-run: time N steps here of each row whose steps were never timed; OUT/costs.jsonl keeps them"
    option("--measure", type=int, default=0, metavar="N", help=timed)
    args = parser.parse_intermixed_args()
    folders, behind = split_words(args.benchmark)
    if args.benchmark and not folders:
        raise UserError(f"--benchmark {args.benchmark[0]}: is no folder; give one or more, then the keys")
    args.benchmark, args.overrides = folders, [*args.overrides, *behind]
    counts = (args.seeds, args.parallel, args.processes, args.per_photo or 1)
    if args.recalibrate < 0:
        raise UserError("--recalibrate: must be 1 or more; 0 leaves the statistics of the training")
    if min(counts) < 1 or (args.minutes is not None and args.minutes <= 0):
        raise UserError("--seeds, --parallel, --processes and --per-photo: must be 1 or more; --minutes: above 0")
    if args.measure < 0 or (args.measure and not args.dry_run):
        raise UserError("--measure: goes with --dry-run, and takes the number of steps to time")
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
        raise UserError("--photos: give the folder of the data set to be made as well: data.root=data/photos")
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


def print_plan(jobs: Sequence[Job], out: Path, steps: int, processes: int) -> None:
    """Every command that is left, and its cost; with ``steps`` rows whose cost is unknown are timed for so many."""
    total, unknown = 0.0, 0
    for job in jobs:
        state = progress(job)
        left = state.steps - state.step
        if steps and left and state.steps > 1 and not cost(out, job, jobs):
            timed = max(1, min(steps, state.steps // 2))
            note(out, job.row, timed, timed * measure(job, timed, environment(0, 1, processes)))
        known = cost(out, job, jobs)
        total += left * known.seconds if known else 0
        unknown += bool(left and not known)
        todo = f"{left:,} steps of {job.config.train.batch}: {left * job.config.train.batch:,} images; "
        todo += known.describe(left) if known else "time unknown"
        print(f"{job.name}: {'finished' if state.finished else todo if left else 'trained'}")
        for command in chain.from_iterable(stages(job, state)):
            print(f"    {shlex.join(command)}")
    print(counted(len(jobs), "row") + (f"; training about {duration(total)}, one row after the other" if total else ""))
    if unknown:
        print(
            f"time unknown: {counted(unknown, 'row')}, of which no step was timed; --measure 10 times ten of each here"
        )


def write_tables(tables: Sequence[str], jobs: Sequence[Job], out: Path) -> None:
    """Writes and prints the tables of the finished rows, for each data set that they are evaluated on."""
    for target, *_ in jobs[0].targets:
        found = evaluated_rows(jobs, target)
        for table in tables:
            benchmark = target if jobs[0].benchmarks else ""
            name = out / "-".join(filter(None, ("table", table, benchmark)))
            made = render(table, found, jobs[0].config.evaluation.protocol, benchmark)
            write_whole(Path(f"{name}.md"), made.markdown + "\n")
            write_whole(Path(f"{name}.tex"), made.latex + "\n")
            write_csv(Path(f"{name}.csv"), made.csv)
            write_whole(Path(f"{name}.json"), json.dumps(made.figures, indent=2) + "\n")
            again = table == "4" and "3" in tables  # the same rows
            sheets = [] if again else write_images(first_evaluations(table, jobs, target, found), name)
            written = wrapped(f"written: {', '.join([f'{name}.md, .tex, .csv, .json', *map(str, sheets)])}")
            print(f"\n{made.text}\n\n{written}")


def conclude(outcomes: Mapping[Job, Outcome]) -> int:
    """Prints what is left to do; returns the exit status."""
    failed = [job for job, outcome in outcomes.items() if outcome.state == "failed"]
    stopped = [job for job, outcome in outcomes.items() if outcome.state in ("stopped", "waiting")]
    left = [
        job for job in stopped if not progress(job).finished
    ]  # a job may be finished and yet never have been looked at
    words = [f"{len(outcomes) - len(failed) - len(left)} of {len(outcomes)} rows finished"]
    words += [f"failed: {'; '.join(job.name for job in failed)}"] if failed else []
    words += ["give the same command again to go on"] if left else []
    print("\n" + "; ".join(words))
    return USER_ERROR if failed else STOPPED if left else 0


if __name__ == "__main__":
    run_command(main)
