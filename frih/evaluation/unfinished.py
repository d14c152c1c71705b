"""The finished rows of an evaluation in progress, so that an evaluation that was killed continues from them.

::

    <folder>/unfinished-rows/<process>-<number>.jsonl     first what is evaluated, then a line for each finished image

Every process writes a file of its own. Rows of an evaluation of something else are not used.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frih.common.files import append
from frih.metrics import Row

FOLDER = "unfinished-rows"

Add = Callable[[int, Sequence[Row]], None]
"""Keeps the rows of an image, by the image's number."""


class FinishedRows:
    """Rows in a folder beside the results.

    Args:
        folder: of the evaluation; it is made when the first row is kept.
        what: everything that decides the figures, as JSON takes it.
        usable: whether a row may be used; by default each may.
    """

    def __init__(self, folder: Path, what: Mapping[str, Any], usable: Callable[[Row], bool] | None = None) -> None:
        self.folder, self.usable = folder / FOLDER, usable or (lambda row: True)
        self.heading = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def read(self) -> dict[int, list[Row]]:
        """The rows of each finished image, by its number. Those of another evaluation are removed."""
        rows: dict[int, list[Row]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            heading, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
            if heading != self.heading:
                path.unlink()
                continue
            for line in lines:
                with suppress(ValueError, TypeError):  # the last line of a killed process may be incomplete
                    number, *found = json.loads(line)
                    rows[number] = [Row(*row) for row in found]
        return {number: found for number, found in rows.items() if all(map(self.usable, found))}

    @contextmanager
    def writing(self, process: int) -> Iterator[Add]:
        """A function that keeps rows, each at once, for one of several processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob(f"{process}-*.jsonl")))
        path = self.folder / f"{process}-{number}.jsonl"
        append(path, self.heading + "\n")
        yield lambda image, rows: append(path, json.dumps([image, *rows]) + "\n")

    def remove(self) -> None:
        """Removes the rows once the results are written."""
        for path in self.folder.glob("*.jsonl"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def folder_state(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files in a folder and in its subfolders."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
