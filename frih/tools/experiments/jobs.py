"""Jobs side by side: each is a sequence of commands, asked for one after the other, and all end cleanly on request."""

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
from typing import Protocol

from frih.common.errors import STOPPED, UserError

GRACE = 60.0
"""Seconds that a program has to end in after it was asked to; then it is killed."""
POLL = 0.1
"""Seconds between two looks at the programs."""


class Job(Hashable, Protocol):
    """Something to be done by programs."""

    @property
    def log(self) -> Path:
        """Where their output goes, at its end; the folder is made."""


@dataclass
class Outcome:
    """What became of a job."""

    state: str
    """``finished``, ``stopped`` (to be gone on with), ``failed``, or ``waiting``: not begun."""
    reason: str = ""
    """Why it failed."""


@dataclass
class _Work:
    job: Job
    slot: int
    command: Sequence[str]
    process: "subprocess.Popen[bytes]"
    begin: int
    """Where in the log its output begins."""
    asked: float | None = None
    """When it was asked to end."""


@dataclass
class Runner:
    """Runs jobs, so many at once.

    Args:
        next_command: of a job, asked before its first program and after each that has ended; None: it is finished.
        parallel: how many at once.
        stop: whether to end; running programs then get SIGTERM.
        tell: is told of each change.
        environment: variables for the programs of a slot (0 ... parallel - 1).
        remind: seconds after which ``still`` is called again for each running job.
        still: is told of jobs that run on.
    """

    next_command: Callable[[Job], Sequence[str] | None]
    parallel: int = 1
    stop: Callable[[], bool] = lambda: False
    tell: Callable[[Job, str], None] = lambda job, text: None
    environment: Callable[[int], Mapping[str, str]] = lambda slot: {}
    remind: float = 60.0
    still: Callable[[Job], None] = lambda job: None
    outcomes: dict[Job, Outcome] = field(default_factory=dict, init=False)

    def run(self, jobs: Sequence[Job]) -> dict[Job, Outcome]:
        """Runs them, in their order, and says what became of each. A job that fails does not keep the others from running."""
        self.outcomes = {job: Outcome("waiting") for job in jobs}
        waiting, working, reminded = list(jobs), list[_Work](), time.monotonic()
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

    def _go_on(self, job: Job, slot: int, last: Sequence[str] | None) -> list[_Work]:
        """Starts a job's next program, if it has one and there is time."""
        try:
            command = self.next_command(job)
            if command is None:
                return self._close(job, "finished")
            if self.stop():
                return self._close(job, "stopped")
            if command == last:
                return self._close(job, "failed", "its program ended without an error, but not at its end")
            return [self._start(job, slot, command)]
        except (UserError, OSError) as error:
            return self._close(job, "failed", str(error))

    def _start(self, job: Job, slot: int, command: Sequence[str]) -> _Work:
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
                start_new_session=True,  # Ctrl-C is for this process, which passes it on
                preexec_fn=_end_with_parent,
            )
            return _Work(job, slot, command, process, log.tell())

    def _ended(self, work: _Work) -> list[_Work]:
        status = work.process.returncode
        if status == 0:
            return self._go_on(work.job, work.slot, work.command)
        if status == STOPPED or work.asked is not None:
            with contextlib.suppress(UserError, OSError):
                self.next_command(work.job)  # so that it may be seen how far this one came
            return self._close(work.job, "stopped")
        return self._close(work.job, "failed", _complaint(work))

    def _close(self, job: Job, state: str, reason: str = "") -> list[_Work]:
        self.outcomes[job] = Outcome(state, reason)
        self.tell(job, f"{state}{': ' if reason else ''}{reason}")
        return []


@contextmanager
def _killing(working: Sequence[_Work]) -> Iterator[None]:
    """Whatever happens, no program is left behind."""
    try:
        yield
    finally:
        for work in working:
            _kill(work)


def _ask_to_end(work: _Work) -> None:
    """By SIGTERM, once; after :data:`GRACE` by SIGKILL."""
    if work.asked is None:
        work.asked = time.monotonic()
        work.process.terminate()
    elif time.monotonic() - work.asked > GRACE:
        _kill(work)


def _kill(work: _Work) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(work.process.pid, signal.SIGKILL)
    work.process.wait()


def _complaint(work: _Work) -> str:
    """The error that a program printed last, or else its last line."""
    with work.job.log.open("rb") as log:
        log.seek(work.begin)
        lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    said = errors[-1] if errors else lines[-1] if lines else "it printed nothing"
    return f"{said} (status {work.process.returncode}; see {work.job.log})"


def _end_with_parent() -> None:
    """In a new process: be asked to end when the one that started it is killed (Linux; elsewhere it runs on)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
