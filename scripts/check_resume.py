"""Shows that a run that is killed goes on as if nothing had happened: kills one again and again, and compares it with another.

    python scripts/check_resume.py configs/sample.yaml [--kills 10] [--processes 2] [--out DIR] [key.sub=value ...]

Trains the recipe twice. One run is left alone. The other is killed (kill -9, all its processes) at random moments, every second
time while it writes a checkpoint, and resumed. At the end every weight and every line of metrics.jsonl, except for timings,
must be the same, bit for bit. Exit status 0 if so, 1 if not. In a short run logging.every and checkpoint.every_steps must be
small.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from frih.common.errors import UserError, run_command
from frih.common.files import is_part
from frih.common.paths import path_argument
from frih.models.checkpoint import find_checkpoint, load_checkpoint
from frih.tools.experiments.run_log import latest, read_lines

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Trains, kills, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=path_argument)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="of each run, by torchrun")
    parser.add_argument("--pause", type=float, help="mean seconds between two kills; default: such that all fit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--out", type=path_argument, metavar="DIR", help="keep the two runs here; default: a temporary folder"
    )
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        whole, killed = (Job(out / name, args.recipe, args.overrides, args.processes) for name in ("whole", "killed"))
        begun = time.monotonic()
        whole.finish()
        taken = time.monotonic() - begun
        print(f"left alone: {taken:.0f} s, {latest(whole.run).get('step', 0)} steps")
        kill_again_and_again(killed, args.kills, args.pause or taken / 2 / args.kills, random.Random(args.seed))
        killed.finish()
        faults = differences(whole.run, killed.run)
    for fault in faults:
        print(f"differs: {fault}")
    print("not the same" if faults else "the same: every line of metrics.jsonl but for timings, and every weight")
    return 1 if faults else 0


class Job:
    """A run of one or several processes."""

    def __init__(self, run: Path, recipe: Path, overrides: list[str], processes: int) -> None:
        self.run, self.recipe, self.overrides, self.processes = run, recipe, overrides, processes

    def start(self) -> subprocess.Popen[bytes]:
        """Begins the run, or resumes it."""
        launcher = [sys.executable]
        if self.processes > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.processes}"]
        begun = (self.run / "config.yaml").exists()
        what = ["--resume", str(self.run)] if begun else [str(self.recipe), *self.overrides, f"run={self.run}"]
        with self.run.with_suffix(".log").open("ab") as log:
            command = [*launcher, str(ROOT / "train.py"), *what]
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def finish(self) -> None:
        """Lets the run end."""
        if self.start().wait():
            tail = self.run.with_suffix(".log").read_text(errors="replace")[-2000:]
            raise UserError(f"{self.run}: did not come to its end:\n{tail}")

    def wait_for_training(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until a new process opens its log, which it does when it begins to train."""
        before = len(list(self.run.glob("events.*")))
        while process.poll() is None and len(list(self.run.glob("events.*"))) == before:
            time.sleep(0.02)

    def wait_for_saving(self, process: subprocess.Popen[bytes], count: int, seconds: float) -> None:
        """Waits until the process writes a checkpoint, the ``count``-th from now on, but no longer than so many seconds."""
        end = time.monotonic() + seconds
        for wanted in [True, False] * (count - 1) + [True]:
            while process.poll() is None and self.is_saving != wanted and time.monotonic() < end:
                time.sleep(0.001)

    @property
    def is_saving(self) -> bool:
        """Whether a checkpoint is being written just now."""
        return any(is_part(path) for path in (self.run / "checkpoints").glob(".*"))


def kill_again_and_again(job: Job, kills: int, pause: float, rng: random.Random) -> None:
    """Kills a job so many times, unless it ends before."""
    for kill in range(kills):
        process, begun = job.start(), time.monotonic()
        if kill % 4 != 2:  # every fourth may be killed before it trains
            job.wait_for_training(process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 2) * pause)
        if kill % 2:
            job.wait_for_saving(process, 1 + rng.randrange(4), 60)
        caught = job.is_saving
        if process.poll() is not None:
            print(f"it ended before kill {kill + 1}, with status {process.returncode}")
            break
        kill_all(process.pid)
        process.wait()
        where = f"at step {latest(job.run).get('step', 0)}{', while saving' if caught else ''}"
        print(f"kill {kill + 1} after {time.monotonic() - begun:.1f} s, {where}")


def differences(run: Path, other: Path) -> list[str]:
    """How the logs and last checkpoints of two runs differ."""
    faults = []
    logs = [read_lines(one / "metrics.jsonl", timings=False) for one in (run, other)]
    if len(logs[0]) != len(logs[1]):
        faults.append(f"metrics.jsonl: {len(logs[0])} lines and {len(logs[1])}")
    for mine, theirs in zip(*logs, strict=False):
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        if names:
            faults.append(f"metrics.jsonl at step {mine['step']}: {', '.join(names)}")
    contents = [load_checkpoint(find_checkpoint(one)) for one in (run, other)]
    for kind in ("model", "average"):
        mine, theirs = (content.get(kind, {}) for content in contents)
        faults += [f"{kind} {name}" for name in mine if not torch.equal(mine[name], theirs[name])]
    return faults


def kill_all(process: int) -> None:
    """Kills a process and all its descendants: the launcher, its processes, their loaders."""
    members = family(process)
    for pid in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(parent_of(pid) for pid in members[1:]):
        time.sleep(0.02)


def family(process: int) -> list[int]:
    """A process and its living descendants (Linux)."""
    parents = {int(folder.name): parent_of(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    members = [process]
    for member in members:
        members += [pid for pid, parent in parents.items() if parent == member]
    return members


def parent_of(process: int) -> int | None:
    """The parent of a process; None if the process has ended."""
    try:
        state, parent, *_ = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else int(parent)


if __name__ == "__main__":
    run_command(main)
