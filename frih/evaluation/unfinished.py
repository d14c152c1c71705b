"""The finished rows of an evaluation that is under way, so that one that was killed goes on where it stood.

::

    <folder>/unfinished-rows/<process>-<number>.jsonl     first what is evaluated, then a line for each finished image

Every process writes a file of its own. What is evaluated is all that decides the figures; rows of anything else are not used.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frih.metrics import Row

FOLDER = "unfinished-rows"

Add = Callable[[int, Sequence[Row]], None]
"""Keeps the rows of an image, by the image's number."""


class FinishedRows:
    """Rows in a folder beside the results-to-be.

    Args:
        folder: of the evaluation; is made when the first row is kept.
        what: all that decides the figures, for JSON.
    """

    def __init__(self, folder: Path, what: Mapping[str, Any]) -> None:
        self.folder = folder / FOLDER
        self.heading = json.dumps({"what": what}, sort_keys=True)

    def read(self) -> dict[int, list[Row]]:
        """The rows of each finished image, by its number. Those of another evaluation are removed."""
        rows: dict[int, list[Row]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            heading, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
            if heading != self.heading:
                path.unlink()
                continue
            for line in lines:
                with suppress(ValueError):  # the last line of a killed process may be half a line
                    number, *found = json.loads(line)
                    rows[number] = [Row(*row) for row in found]
        return rows

    @contextmanager
    def writing(self, process: int) -> Iterator[Add]:
        """Gives what keeps rows, each at once, for one of several processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob(f"{process}-*.jsonl")))
        with (self.folder / f"{process}-{number}.jsonl").open("w", encoding="utf-8") as file:

            def add(image: int, rows: Sequence[Row]) -> None:
                file.write(json.dumps([image, *rows]) + "\n")
                file.flush()

            file.write(self.heading + "\n")
            yield add

    def remove(self) -> None:
        """Ends it: the results are written."""
        for path in self.folder.glob("*.jsonl"):
            path.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def file_digest(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """Of the names, sizes and times of a folder's files, and of those in its folders."""
    files = sorted(path for pattern in ("*", "*/*") for path in folder.glob(pattern) if path.is_file())
    entries = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return text_digest(json.dumps(entries))


def text_digest(text: str) -> str:
    """Of a text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
