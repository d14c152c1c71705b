"""The rungs of docs/gpu.md, for a GPU that is free for minutes only: each is one command that ends in time.

    python scripts/ladder.py machine                        --back DIR
    python scripts/ladder.py recipe    --photos data/packed --back DIR [--minutes 9] [key.sub=value ...]
    python scripts/ladder.py base | table3 | divisions      (the same)

All but the first make composites of the photos (scripts/make_composites.py), train, and evaluate the runs that reach their end.
The same command goes on where the last one stopped while outputs/ladder is there; on another machine the weights go on by
train.init_from=FILE. Results are packed into files of at most 15 MiB in --back, which `cat back.tar.* | tar x` unpacks. Exit
status 0 if all runs are finished, 2 if one failed, 130 if the time ended.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from frih.common.errors import STOPPED, USER_ERROR, UserError, extra, run_command
from frih.common.files import write_whole
from frih.common.paths import path_argument
from frih.common.processes import cores
from frih.config.recipes import load_config
from frih.models.checkpoint import find_checkpoint

with extra("train"):
    from frih.tools.composites.making import describe, make_composites
    from frih.tools.experiments.ablations import ROOT, Job, next_commands, progress, refuse_others, runnable
    from frih.tools.experiments.jobs import Runner
    from frih.tools.experiments.run_log import latest
    from frih.tools.journal import MANIFEST
    from frih.tools.sharing.export import export
    from frih.training.stopping import stop_requests

OUT = Path("outputs", "ladder")
HALF = "train.precision=bf16"
HELPFUL = ("data.online=0.15", "data.regions=3", "data.unchanged=0.1")
"""Keys of the data that make weights for all kinds of images."""
RUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "recipe": {"frih": ("frih.yaml",)},
    "base": {"base": ("ablations/baseline.yaml", *HELPFUL, "train.batch=64", "train.ema=0.999", HALF)},
    "table3": {
        "baseline": ("ablations/baseline.yaml", HALF),
        "frih": ("frih.yaml", HALF),
        "submask": ("ablations/cascade_submask.yaml", HALF),
        "globalmask": ("ablations/cascade_globalmask.yaml", HALF),
    },
    "divisions": {
        "cutoff-0.02": ("frih.yaml", "submasks.cutoff=0.02", HALF),
        "gamma": ("frih.yaml", "submasks.method=gamma", HALF),
        "kmeans": ("frih.yaml", "submasks.method=kmeans", HALF),
        "whole": ("frih.yaml", "submasks.method=whole", HALF),
    },
}
"""The runs of each rung, trained side by side: a recipe below configs/, and keys that differ from it."""
KEPT = ("config.yaml", "metrics.jsonl", "log.txt", "evaluation/*/rows.csv", "evaluation/*/summary.json")
"""Files of a run's folder that are packed beside its weights."""
SHOWN = ("step", "train/loss", "train/loss_unchanged", "val/All/fmse", "time/images_per_second", "time/data_wait")
PART = 15 << 20
"""Most bytes of a packed file."""
LEFT = 3
"""Cores that the loaders leave free. Where it took all, a step on a GPU took twice as long (docs/gpu.md)."""
MARGIN = 30.0
"""Seconds reserved for saving and packing."""


def main() -> int:
    """Climbs a rung."""
    begun = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a step on a GPU should not spread over cores that load
    args = parse()
    args.back.mkdir(parents=True, exist_ok=True)
    if args.rung == "machine":
        command = [sys.executable, str(ROOT / "scripts/check_machine.py"), "--out", str(args.back)]
        return subprocess.run([*command, "--minutes", str(args.minutes), *args.overrides], check=False).returncode
    root = OUT / "data"
    if not (root / MANIFEST).is_file():
        print(describe(make_composites(args.photos, root)))
    jobs = list(plan(args.rung, args.only, (f"data.root={root}", *args.overrides)))
    refuse_others(jobs)
    late = begun + 60 * args.minutes - MARGIN
    with stop_requests() as stop:
        runner = Runner(
            lambda job: [*map(runnable, next_commands(job, progress(job)))],
            len(jobs),
            lambda: stop.is_set() or time.monotonic() > late,
            lambda job, text: print(f"{job.row:16} {text}", flush=True),
            still=tell,
        )
        outcomes = runner.run(jobs)
    for job in jobs:
        tell(job)
    bring_back(jobs, args.back)
    states = {outcome.state for outcome in outcomes.values()}
    return USER_ERROR if "failed" in states else 0 if states == {"finished"} else STOPPED


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rung", choices=["machine", *RUNS])
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="changes of every recipe")
    parser.add_argument(
        "--photos", type=path_argument, metavar="DIR", help="has images/ and masks/, as pack_photos.py makes them"
    )
    parser.add_argument("--back", type=path_argument, required=True, metavar="DIR", help="folder of the packed results")
    parser.add_argument("--minutes", type=float, default=9, metavar="M", help="from start to end (default: 9)")
    parser.add_argument("--only", nargs="+", metavar="RUN", help="these runs of the rung")
    args = parser.parse_intermixed_args()
    if args.minutes <= 0:
        raise UserError("--minutes: must be above 0")
    if args.rung != "machine" and args.photos is None and not (OUT / "data" / MANIFEST).is_file():
        raise UserError("--photos: give the folder of photos to make composites of; see docs/gpu.md")
    unknown = set(args.only or ()) - set(RUNS.get(args.rung, ()))
    if unknown:
        raise UserError(f"--only: {args.rung} has the runs {', '.join(RUNS.get(args.rung, ()))}, not {unknown.pop()}")
    return args


def plan(rung: str, only: Sequence[str] | None, overrides: Sequence[str]) -> Iterator[Job]:
    """The runs of a rung. They share the machine's cores, of which some are left to the processes that train."""
    names = [name for name in RUNS[rung] if not only or name in only]
    workers = f"data.workers={max(1, (cores() - LEFT) // len(names))}"
    for name in names:
        recipe, *keys = RUNS[rung][name]
        path, folder = ROOT / "configs" / recipe, OUT / rung / name
        words = (*keys, workers, *overrides)
        yield Job(name, path, load_config(path, [*words, f"run={folder}"]), folder, words)


def tell(job: Job) -> None:
    """Prints how far a run has come."""
    figures = latest(job.folder)
    found = (f"{key.removeprefix('train/')} {figures[key]:.4g}" for key in SHOWN if figures.get(key) is not None)
    print(f"{job.row:16} {', '.join(found)}", flush=True)


def bring_back(jobs: Sequence[Job], back: Path, most: int = 60 << 20) -> None:
    """Packs logs, figures and weights (float16) into ``back.tar.00`` and so on.

    Args:
        jobs: the runs, the one whose weights matter most first.
        back: the folder of the parts.
        most: bytes of all parts. Weights that do not fit are left out.
    """
    archive = OUT / "back.tar"
    room = most
    with tarfile.open(archive, "w") as tar:
        for path in (path for job in jobs for pattern in KEPT for path in sorted(job.folder.glob(pattern))):
            tar.add(path, path.relative_to(OUT))
            room -= path.stat().st_size
        for job in jobs:
            try:
                checkpoint = find_checkpoint(job.folder)
            except UserError as error:
                print(f"{job.row}: no weights ({error})")
                continue
            weights = job.folder / "weights.safetensors"
            export(checkpoint, weights, "safetensors", half=True)
            if weights.stat().st_size > room:
                print(
                    f"{job.row}: its weights are left out, because they do not fit; give --only {job.row} to have them"
                )
                continue
            tar.add(weights, weights.relative_to(OUT))
            room -= weights.stat().st_size
    for old in back.glob("back.tar.*"):
        old.unlink()
    with archive.open("rb") as file:
        for number, part in enumerate(iter(lambda: file.read(PART), b"")):
            write_whole(back / f"back.tar.{number:02}", part)
    print(f"{back}: {archive.stat().st_size / 2**20:.1f} MiB; unpack it by: cat {back}/back.tar.* | tar x")


if __name__ == "__main__":
    run_command(main)
