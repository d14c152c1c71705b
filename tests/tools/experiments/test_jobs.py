"""Jobs of small programs: in order, side by side, failing, and stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from frih.tools.experiments import jobs
from frih.tools.experiments.jobs import Outcome, Runner

ROOT = Path(__file__).parents[3]


class Task(NamedTuple):
    """A job whose programs write a file each. Its next program follows from the files; in ``any_order`` all that have none."""

    folder: Path
    programs: tuple[str, ...]
    any_order: bool = False

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def next(self) -> list[list[str]]:
        files = {program: self.folder / f"{i}.done" for i, program in enumerate(self.programs)}
        commands = [
            [sys.executable, "-c", f"{program}\nimport pathlib; pathlib.Path({str(file)!r}).touch()"]
            for program, file in files.items()
            if not file.exists()
        ]
        return commands if self.any_order else commands[:1]


def test_each_job_runs_its_programs_one_after_the_other(tmp_path):
    tasks = [Task(tmp_path / name, ("print('first')", "print('second')")) for name in "ab"]
    told = []
    outcomes = Runner(Task.next, tell=lambda task, text: told.append((task.folder.name, text))).run(tasks)
    assert outcomes == dict.fromkeys(tasks, Outcome("finished"))
    lines = [line for line in tasks[0].log.read_text().splitlines() if not line.startswith(("$", "import"))]
    assert lines == ["first", "second"]
    assert told == [(name, text) for name in "ab" for text in ("begins", "begins", "finished")]
    assert Runner(Task.next).run(tasks) == outcomes  # nothing is run again
    assert tasks[0].log.read_text().count("$") == 2


def test_so_many_run_at_once_each_in_a_slot_of_its_own(tmp_path):
    # each waits for the other's file: one after the other they would never end
    wait = (
        "import os, pathlib, time\npathlib.Path({own!r}).write_text(os.environ['SLOT'])\n"
        "while not pathlib.Path({other!r}).exists(): time.sleep(0.01)"
    )
    paths = [str(tmp_path / name) for name in ("a.slot", "b.slot")]
    tasks = [
        Task(tmp_path / name, (wait.format(own=own, other=other),))
        for name, own, other in zip("ab", paths, reversed(paths), strict=True)
    ]
    outcomes = Runner(Task.next, parallel=2, environment=lambda slot: {"SLOT": str(slot)}).run(tasks)
    assert {outcome.state for outcome in outcomes.values()} == {"finished"}
    assert sorted(Path(path).read_text() for path in paths) == ["0", "1"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (
            "import sys; print('error: a.jpg: is damaged'); print('bye'); sys.exit(2)",
            "a.jpg: is damaged (status 2; see",
        ),
        ("raise RuntimeError('broken')", "RuntimeError: broken (status 1; see"),
        ("import os; os.kill(os.getpid(), 9)", "it printed nothing (status -9; see"),
    ],
)
def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path, program, reason):
    bad, good = Task(tmp_path / "bad", (program,)), Task(tmp_path / "good", ("pass",))
    outcomes = Runner(Task.next).run([bad, good])
    assert outcomes[good].state == "finished"
    assert outcomes[bad].state == "failed"
    assert outcomes[bad].reason == f"{reason} {bad.log})"


def test_what_does_not_need_the_program_that_failed_is_still_done(tmp_path):
    bad, worse = ("print('error: a.jpg'); exit(2)", "print('error: b.jpg'); exit(2)")
    task = Task(tmp_path / "a", (bad, "print('one')", worse, "print('two')"), any_order=True)
    told = []
    outcome = Runner(Task.next, tell=lambda _, text: told.append(text)).run([task])[task]
    reasons = [f"{name} (status 2; see {task.log})" for name in ("a.jpg", "b.jpg")]
    assert (outcome.state, outcome.reason) == ("failed", "; ".join(reasons))
    assert sorted(file.name for file in task.folder.glob("*.done")) == ["1.done", "3.done"]
    assert task.log.read_text().count("$ ") == 4  # each once
    assert told[:3] == ["begins", f"goes on, although this failed: {reasons[0]}", "begins"]


def test_a_program_that_never_gets_anywhere_fails(tmp_path):
    task = Task(tmp_path / "a", ())
    outcome = Runner(lambda job: [[sys.executable, "-c", "pass"]]).run([task])[task]
    assert (outcome.state, outcome.reason) == ("failed", "its program ended without an error, but not at its end")


def test_a_program_that_is_not_there_fails(tmp_path):
    task = Task(tmp_path / "a", ())
    outcome = Runner(lambda job: [[str(tmp_path / "nothing")]]).run([task])[task]
    assert outcome.state == "failed"
    assert str(tmp_path / "nothing") in outcome.reason


POLITE = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({saved!r}).touch(), sys.exit(130)))
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""
STUBBORN = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""


def test_running_jobs_are_asked_to_end_and_others_are_not_begun(tmp_path):
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    running = Task(tmp_path / "a", (POLITE.format(saved=str(saved), ready=str(ready)),))
    waiting = Task(tmp_path / "b", ("pass",))
    outcomes = Runner(Task.next, stop=ready.exists).run([running, waiting])
    assert outcomes == {running: Outcome("stopped"), waiting: Outcome("waiting")}
    assert saved.exists()
    assert not waiting.log.exists()


def test_a_program_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "GRACE", 0.2)
    ready = tmp_path / "ready"
    task = Task(tmp_path / "a", (STUBBORN.format(ready=str(ready)),))
    begun = time.monotonic()
    assert Runner(Task.next, stop=ready.exists).run([task]) == {task: Outcome("stopped")}
    assert time.monotonic() - begun < 30


def test_an_error_here_leaves_no_program_behind(tmp_path):
    ready = tmp_path / "ready"
    task = Task(tmp_path / "a", (f"import os\nprint(os.getpid(), flush=True)\n{STUBBORN.format(ready=str(ready))}",))

    def fail() -> bool:
        if ready.exists():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Runner(Task.next, stop=fail).run([task])
    pid = next(int(line) for line in task.log.read_text().splitlines() if line.isdigit())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs outlive the one that started them")
def test_programs_end_with_a_runner_that_is_killed(tmp_path):
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    program = POLITE.format(saved=str(saved), ready=str(ready))
    (tmp_path / "runner.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        "from frih.tools.experiments.jobs import Runner\n"
        f"class Task:\n    log = Path({str(tmp_path / 'log.txt')!r})\n"
        f"Runner(lambda job: [[sys.executable, '-c', {program!r}]]).run([Task()])\n"
    )
    runner = subprocess.Popen([sys.executable, tmp_path / "runner.py"])
    _wait_for(ready)
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    _wait_for(saved)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} was never written"
        time.sleep(0.02)
