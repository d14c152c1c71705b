"""Shows that a run that is killed goes on as if it had not been: kills it again and again, and compares it with one left alone.

    python scripts/check_resume.py configs/sample.yaml [--kills 10] [--processes 2] [--out DIR] [key.sub=value ...]

Trains the recipe twice. One run is left alone; the other is killed (kill -9, every process of it) at random moments, every
second time while it writes a checkpoint, and resumed. Then every line of metrics.jsonl, but for the timings, and every weight
must be the same, bit for bit. Exit status 0 if so, 1 if not. Keep logging.every and checkpoint.every_steps small in a short
run.
"""

import argparse
import json
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
from frih.models.checkpoint import find_checkpoint, load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SETTLED = 20.0
"""Seconds after which a process holds all that it needs; memory is watched from then on."""


def main() -> int:
    """Trains, kills, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--processes", type=int, default=1, help="of each run, by torchrun")
    parser.add_argument(
        "--pause", type=float, help="mean seconds between two kills; default: such that all find their time"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the two runs here; default: a temporary folder")
    args = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        jobs = {name: Job(out / name, args.recipe, args.overrides, args.processes) for name in ("whole", "killed")}
        begun = time.monotonic()
        jobs["whole"].finish()
        taken = time.monotonic() - begun
        print(f"left alone: {taken:.0f} s, {_steps(jobs['whole'].run)} steps")
        kill_again_and_again(jobs["killed"], args.kills, args.pause or taken / 2 / args.kills, random.Random(args.seed))
        jobs["killed"].finish()
        faults = differences(jobs["whole"].run, jobs["killed"].run)
    for fault in faults:
        print(f"differs: {fault}")
    print("not the same" if faults else "the same: every line of metrics.jsonl but for timings, and every weight")
    return 1 if faults else 0


class Job:
    """A run, in as many processes as it is given, of which none outlives it."""

    def __init__(self, run: Path, recipe: Path, overrides: list[str], processes: int) -> None:
        self.run, self.recipe, self.overrides, self.processes = run, recipe, overrides, processes

    def start(self) -> subprocess.Popen[bytes]:
        """Starts it, or goes on with it."""
        launcher = [sys.executable]
        if self.processes > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.processes}"]
        begun = (self.run / "config.yaml").exists()
        what = ["--resume", str(self.run)] if begun else [str(self.recipe), *self.overrides, f"run={self.run}"]
        with self.run.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [*launcher, str(ROOT / "train.py"), *what], stdout=log, stderr=log, start_new_session=True
            )

    def finish(self) -> None:
        """Lets it come to its end."""
        if self.start().wait():
            tail = self.run.with_suffix(".log").read_text(errors="replace")[-2000:]
            raise UserError(f"{self.run}: did not come to its end:\n{tail}")

    def wait_for_training(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until a process that was started opens its log, which it does when it begins to train."""
        before = len(list(self.run.glob("events.*")))
        while process.poll() is None and len(list(self.run.glob("events.*"))) == before:
            time.sleep(0.02)

    def wait_for_saved(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until the checkpoint that is being written is whole."""
        while process.poll() is None and self.is_saving:
            time.sleep(0.001)

    @property
    def is_saving(self) -> bool:
        """Whether it is writing a checkpoint just now."""
        return any(is_part(path) for path in (self.run / "checkpoints").glob(".*"))


def kill_again_and_again(job: Job, kills: int, pause: float, rng: random.Random) -> None:
    """Kills a job so many times, unless it comes to its end before."""
    growths = []
    for kill in range(kills):
        process, begun = job.start(), time.monotonic()
        if kill % 4 != 2:  # every fourth may be killed before it trains
            job.wait_for_training(process)
        moment = time.monotonic() + rng.uniform(0, 2) * pause
        saves = rng.randrange(4) if kill % 2 else 0
        memory: list[float] = []
        while process.poll() is None and time.monotonic() < moment + (60 if kill % 2 else 0):
            waiting = time.monotonic() < moment
            if not waiting and job.is_saving:
                if not saves:
                    break
                saves -= 1
                job.wait_for_saved(process)
            if waiting and time.monotonic() - begun > SETTLED + len(memory):
                memory.append(sum(map(_private, _family(process.pid))))
            time.sleep(0.05 if waiting else 0.001)
        caught = job.is_saving
        if process.poll() is not None:
            print(f"it ended before kill {kill + 1}, with status {process.returncode}")
            break
        _kill_all(process.pid)
        process.wait()
        growths += [max(memory) - memory[0]] if memory else []
        held = f", memory {memory[0]:.0f} MiB, at most {max(memory):.0f}" if memory else ""
        print(
            f"kill {kill + 1} after {time.monotonic() - begun:.1f} s, at step {_steps(job.run)}"
            f"{', while saving' if caught else ''}{held}"
        )
    if growths:
        print(f"memory grew by {max(growths):.0f} MiB at most within a life (after {SETTLED:.0f} s)")


def differences(run: Path, other: Path) -> list[str]:
    """What differs of two runs' logs and last checkpoints."""
    faults = []
    logs = [_log(one) for one in (run, other)]
    if len(logs[0]) != len(logs[1]):
        faults.append(f"metrics.jsonl: {len(logs[0])} lines and {len(logs[1])}")
    for mine, theirs in zip(*logs, strict=False):
        names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        if names:
            faults.append(f"metrics.jsonl at step {mine['step']}: {', '.join(names)}")
    contents = [load_checkpoint(find_checkpoint(one)) for one in (run, other)]
    for kind in ("model", "average"):
        weights = [content.get(kind, {}) for content in contents]
        faults += [f"{kind} {name}" for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])]
    return faults


def _log(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines]


def _steps(run: Path) -> int:
    """The last step in the log; 0 without one."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, ValueError):
        return 0


def _kill_all(process: int) -> None:
    """Kills a process and all that it and its children have started: the launcher, its processes, their loaders."""
    members = _family(process)
    for pid in members:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while any(_parent(pid) for pid in members[1:]):
        time.sleep(0.02)


def _family(process: int) -> list[int]:
    """A process and its living descendants."""
    parents = {int(folder.name): _parent(int(folder.name)) for folder in Path("/proc").glob("[0-9]*")}
    members = [process]
    for member in members:
        members += [pid for pid, parent in parents.items() if parent == member]
    return members


def _parent(process: int) -> int | None:
    """The parent of a living process."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[1])


def _private(pid: int) -> float:
    """MiB of memory that a process holds and shares with no other."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    run_command(main)
