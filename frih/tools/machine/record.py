"""What was found: kept as it comes, written as it comes, whatever happens afterwards."""

import json
import math
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from frih.common.files import write_whole
from frih.tools.machine.device import Device, out_of_memory

Row = dict[str, Any]
"""One finding: ``name``, ``status``, and whatever was found. A status is ``right`` or ``wrong`` (a check), ``measured``,
``told`` (neither right nor wrong), ``skipped`` (with a ``why``), or ``failed`` (with a ``why`` and a ``traceback``)."""


NO_TIME = "no time left (--minutes)"


class Task(NamedTuple):
    """A piece of the program that may fail by itself."""

    section: str
    """Under which its rows are kept."""
    name: str
    work: Callable[[], Iterable[Row]]
    """Gives its rows one by one, so that those before a failure are kept. One with a ``section`` goes there."""
    until: float = 1.0
    """It is skipped if this share of the time is over when it would begin."""


class Record:
    """The JSON file, in memory and on the disk.

    Args:
        path: of the file, in a folder that exists.
        about: what stands at its head.
        minutes: that all of it may take.
        device: is freed of what a failure leaves.
    """

    def __init__(self, path: Path, about: Row, minutes: float, device: Device) -> None:
        self.path, self.minutes, self.device = path, minutes, device
        self.begun = time.monotonic()
        self.data: dict[str, Any] = {**about, "minutes_allowed": minutes}

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    def left(self, until: float = 1.0) -> float:
        """Seconds until a share of the time is over; negative afterwards."""
        return until * 60 * self.minutes - self.elapsed

    def rows(self, section: str) -> list[Row]:
        """What a section holds so far."""
        found: list[Row] = self.data.setdefault(section, [])
        return found

    def add(self, section: str, row: Row) -> None:
        """Keeps a row."""
        self.rows(section).append(row)
        self.write()

    def write(self) -> None:
        """Writes the file anew."""
        text = json.dumps(_finite({**self.data, "seconds": round(self.elapsed, 1)}), indent=1, allow_nan=False)
        write_whole(self.path, text + "\n")

    def run(self, task: Task) -> list[Row]:
        """Does a task; whatever it raises becomes a row, and the program goes on."""
        found: list[Row] = []
        begun = time.monotonic()
        if self.left(task.until) < 0:
            found.append(skipped(task.name, NO_TIME))
            self.add(task.section, found[-1])
        else:
            try:
                for row in task.work():
                    found.append(row)
                    self.add(row.pop("section", task.section), row)
            except Exception as error:
                found.append(failed(task.name, error))
                self.add(task.section, found[-1])
            self.device.free()
        self.data.setdefault("seconds_by_task", {})[f"{task.section}: {task.name}"] = round(time.monotonic() - begun, 2)
        return found

    @property
    def faults(self) -> list[Row]:
        """Checks that are wrong, and what failed."""
        return [row for row in self.all_rows if row["status"] in ("wrong", "failed")]

    @property
    def all_rows(self) -> list[Row]:
        """Of all sections."""
        return [row for section in self.data.values() if isinstance(section, list) for row in section]


def judged(name: str, errors: dict[str, float], allowed: dict[str, float], **more: Any) -> Row:
    """A check's row: right if each error is at most what is allowed; one that is not a number is not."""
    right = all(errors[key] <= allowed[key] for key in errors)
    return {"name": name, "status": "right" if right else "wrong", "errors": errors, "allowed": allowed, **more}


def skipped(name: str, why: str, **more: Any) -> Row:
    """A row that says why there is nothing."""
    return {"name": name, "status": "skipped", "why": why, **more}


def failed(name: str, error: Exception, **more: Any) -> Row:
    """The row of what an exception ended: that the memory does not suffice is no failure of the program."""
    first = (str(error).splitlines() or [""])[0][:200]
    if out_of_memory(error):
        return skipped(name, f"not enough memory ({first})", **more)
    text = "".join(traceback.format_exception(error))
    return {"name": name, "status": "failed", "why": f"{type(error).__name__}: {first}", "traceback": text, **more}


def _finite(value: Any) -> Any:
    """The same with words for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
