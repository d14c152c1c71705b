"""The findings: kept and written to ``machine.json`` one by one, so that a later failure loses nothing."""

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
"""One finding: ``name``, ``status`` and its figures. A status is ``right`` or ``wrong`` (a check), ``measured``, ``told``
(neither right nor wrong), ``skipped`` (with a ``why``), or ``failed`` (with a ``why`` and a ``traceback``)."""
NO_TIME = "no time left (--minutes)"


class Task(NamedTuple):
    """A piece of the check that may fail by itself."""

    section: str
    """The section of its rows. A row with its own ``section`` goes there instead."""
    name: str
    work: Callable[[], Iterable[Row]]
    """Yields its rows one by one, so that those before a failure are kept."""
    until: float = 1.0
    """The task is skipped once this share of the time is over."""


class Record:
    """The content of ``machine.json``.

    Args:
        path: the file, in a folder that exists.
        about: the first entries of the file.
        minutes: time for the whole check.
        device: its memory is freed after each task.
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
        """Seconds until a share of the time is over; negative after that."""
        return until * 60 * self.minutes - self.elapsed

    def rows(self, section: str) -> list[Row]:
        """The rows of a section so far."""
        found: list[Row] = self.data.setdefault(section, [])
        return found

    def add(self, section: str, row: Row) -> Row:
        """Keeps a row and writes the file."""
        self.rows(row.pop("section", section)).append(row)
        self.write()
        return row

    def write(self) -> None:
        """Writes the file."""
        text = json.dumps(_finite({**self.data, "seconds": round(self.elapsed, 1)}), indent=1, allow_nan=False)
        write_whole(self.path, text + "\n")

    def run(self, task: Task) -> list[Row]:
        """Runs a task and returns its rows. An exception becomes a row, and the check goes on."""
        found: list[Row] = []
        begun = time.monotonic()
        if self.left(task.until) < 0:
            found.append(self.add(task.section, skipped(task.name, NO_TIME)))
        else:
            try:
                for row in task.work():
                    found += [self.add(task.section, row)]
            except Exception as error:
                found.append(self.add(task.section, failed(task.name, error)))
            self.device.free()
        self.data.setdefault("seconds_by_task", {})[f"{task.section}: {task.name}"] = round(time.monotonic() - begun, 2)
        return found

    @property
    def faults(self) -> list[Row]:
        """Checks that are wrong, and tasks that failed."""
        return [row for row in self.all_rows if row["status"] in ("wrong", "failed")]

    @property
    def all_rows(self) -> list[Row]:
        """The rows of all sections."""
        return [row for section in self.data.values() if isinstance(section, list) for row in section]


def judged(name: str, errors: dict[str, float], allowed: dict[str, float], **more: Any) -> Row:
    """A check's row: right if no error is above the allowed one. An error of NaN is wrong."""
    right = all(errors[key] <= allowed[key] for key in errors)
    return {"name": name, "status": "right" if right else "wrong", "errors": errors, "allowed": allowed, **more}


def skipped(name: str, why: str, **more: Any) -> Row:
    """The row of something that was not done."""
    return {"name": name, "status": "skipped", "why": why, **more}


def failed(name: str, error: Exception) -> Row:
    """The row of an exception. Too little memory is not a failure of the program: such a row is skipped."""
    first = (str(error).splitlines() or [""])[0][:200]
    if out_of_memory(error):
        return skipped(name, f"not enough memory ({first})")
    text = "".join(traceback.format_exception(error))
    return {"name": name, "status": "failed", "why": f"{type(error).__name__}: {first}", "traceback": text}


def _finite(value: Any) -> Any:
    """The same value with words for infinite numbers and NaN, which JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
