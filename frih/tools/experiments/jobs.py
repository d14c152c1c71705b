"""Runs jobs side by side. Each job is a sequence of commands, and all jobs end cleanly on request."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from frih.common.errors import STOPPED, UserError

GRACE = 60.0
"""Seconds between the request to end and the kill."""
POLL = 0.1
"""Seconds between two looks at the programs."""


class Job(Hashable, Protocol):
    """Something that programs do."""

    @property
    def log(self) -> Path:
        """The file that their output is appended to. Its folder is made."""


JobType = TypeVar("JobType", bound=Job)


@dataclass
class Outcome:
    """What became of a job."""

    state: str
    """``finished``, ``stopped`` (it can go on), ``failed``, or ``waiting`` (not begun)."""
    reason: str = ""
    """Why it failed."""


@dataclass
class _Work(Generic[JobType]):
    job: JobType
    slot: int
    command: Sequence[str]
    others: Sequence[Sequence[str]]
    """Commands that the job could have gone on with instead."""
    process: "subprocess.Popen[bytes]"
    begin: int
    """Where its output begins in the log."""
    asked: float | None = None
    """When it was asked to end."""


@dataclass
class Runner(Generic[JobType]):
    """Runs so many jobs at once.

    Args:
        commands: gives the commands that a job can go on with, in the order to try them, before its first program and after
            each one that has ended well. None: finished. If a program fails, the next of them is tried, and the job has failed
            in the end.
        parallel: how many jobs run at once.
        stop: whether to end. Running programs then get SIGTERM.
        tell: is called at each change.
        environment: gives variables for the programs of a slot (0 ... parallel - 1).
        remind: seconds between two calls of ``still``.
        still: is called for each running job.
    """

    commands: Callable[[JobType], Sequence[Sequence[str]]]
    parallel: int = 1
    stop: Callable[[], bool] = lambda: False
    tell: Callable[[JobType, str], None] = lambda job, text: None
    environment: Callable[[int], Mapping[str, str]] = lambda slot: {}
    remind: float = 60.0
    still: Callable[[JobType], None] = lambda job: None
    outcomes: dict[JobType, Outcome] = field(default_factory=dict, init=False)
    _failures: dict[JobType, dict[tuple[str, ...], str]] = field(default_factory=dict, init=False)
    """Why commands have failed."""

    def run(self, jobs: Sequence[JobType]) -> dict[JobType, Outcome]:
        """Runs jobs in their order and returns their outcomes. If one fails, the others still run."""
        self.outcomes = {job: Outcome("waiting") for job in jobs}
        self._failures = {job: {} for job in jobs}
        waiting, working, reminded = list(jobs), list[_Work[JobType]](), time.monotonic()
        with _killing(working):
            while working or (waiting and not self.stop()):
                while waiting and len(working) < self.parallel and not self.stop():
                    slot = min(set(range(self.parallel)) - {work.slot for work in working})
                    working += self._go_on(waiting.pop(0), slot, None)
                for work in list(working):
                    if work.process.poll() is not None:
                        working.remove(work)
                        working += self._ended(work)
                    elif self.stop():
                        _ask_to_end(work)
                if time.monotonic() - reminded > self.remind:
                    reminded = time.monotonic()
                    for work in working:
                        self.still(work.job)
                time.sleep(POLL if working else 0)
        return self.outcomes

    def _go_on(self, job: JobType, slot: int, last: Sequence[str] | None) -> list[_Work[JobType]]:
        """Starts a job's next program, unless the job is finished or all are to end."""
        try:
            commands = self.commands(job)
            if not commands:
                return self._close(job, "finished")
            if last is not None and last in commands and not self.stop():
                self._failures[job][tuple(last)] = "its program ended without an error, but not at its end"
            return self._try(job, slot, [one for one in commands if tuple(one) not in self._failures[job]])
        except (UserError, OSError) as error:
            return self._close(job, "failed", str(error))

    def _try(self, job: JobType, slot: int, commands: Sequence[Sequence[str]]) -> list[_Work[JobType]]:
        """Starts the first of some commands, unless there is none or all jobs are to end."""
        reasons = "; ".join(self._failures[job].values())
        if not commands:
            return self._close(job, "failed", reasons)
        if self.stop():
            return self._close(job, "stopped", reasons)
        return [self._start(job, slot, commands[0], commands[1:])]

    def _start(
        self, job: JobType, slot: int, command: Sequence[str], others: Sequence[Sequence[str]]
    ) -> _Work[JobType]:
        self.tell(job, "begins")
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment(slot)},
                start_new_session=True,  # this process alone gets Ctrl-C, and passes it on
                preexec_fn=_end_with_parent,
            )
            return _Work(job, slot, command, others, process, log.tell())

    def _ended(self, work: _Work[JobType]) -> list[_Work[JobType]]:
        status = work.process.returncode
        if status == 0:
            return self._go_on(work.job, work.slot, work.command)
        if status == STOPPED or work.asked is not None:
            with contextlib.suppress(UserError, OSError):
                self.commands(work.job)  # it may note how far the job came
            return self._close(work.job, "stopped")
        self._failures[work.job][tuple(work.command)] = reason = _complaint(work)
        if work.others:
            self.tell(work.job, f"goes on, although this failed: {reason}")
        return self._try(work.job, work.slot, work.others)

    def _close(self, job: JobType, state: str, reason: str = "") -> list[_Work[JobType]]:
        self.outcomes[job] = Outcome(state, reason)
        self.tell(job, f"{state}{': ' if reason else ''}{reason}")
        return []


@contextmanager
def _killing(working: Sequence[_Work[JobType]]) -> Iterator[None]:
    """Kills all programs at the end of the block, whatever happens."""
    try:
        yield
    finally:
        for work in working:
            _kill(work)


def _ask_to_end(work: _Work[JobType]) -> None:
    """Sends SIGTERM once, and after :data:`GRACE` SIGKILL."""
    if work.asked is None:
        work.asked = time.monotonic()
        work.process.terminate()
    elif time.monotonic() - work.asked > GRACE:
        _kill(work)


def _kill(work: _Work[JobType]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(work.process.pid, signal.SIGKILL)
    work.process.wait()


def _complaint(work: _Work[JobType]) -> str:
    """The last error that a program printed, or else its last line."""
    with work.job.log.open("rb") as log:
        log.seek(work.begin)
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    said = errors[-1] if errors else lines[-1] if lines else "it printed nothing"
    return f"{said} (status {work.process.returncode}; see {work.job.log})"


def _end_with_parent() -> None:
    """Asks the system to send this new process SIGTERM when its parent is killed (Linux; elsewhere it runs on)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
