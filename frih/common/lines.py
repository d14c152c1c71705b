"""Files of JSON lines. A killed program leaves an unfinished last line, a failing disk any other damage."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from frih.common.errors import UserError

Content = TypeVar("Content")


class Line(NamedTuple):
    """A line that is not as it should be has no content (None)."""

    number: int
    """From 1."""
    text: bytes
    finished: bool
    """Whether it ends in a line break."""


def json_lines(path: Path, kind: TypeAdapter[Content]) -> Iterator[tuple[Line, Content | None]]:
    """The lines of a file, and what they hold: None if that is not of this kind. Without a file there are none."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            line = Line(number, text, text.endswith(b"\n"))
            if text.strip():
                yield line, _parse(text, kind) if line.finished else None


def read_json_lines(path: Path, kind: TypeAdapter[Content]) -> list[Content]:
    """What the lines of a file hold. An unfinished last line is left out.

    Raises:
        UserError: another line is damaged; the message names it.
    """
    found = []
    for line, content in json_lines(path, kind):
        if content is not None:
            found.append(content)
        elif line.finished:
            raise damaged_line(path, line)
    return found


def damaged_line(path: Path, line: Line) -> UserError:
    """The error for a line that cannot be read."""
    return UserError(f"{path}: line {line.number} is damaged; remove that line, or take the file from a copy")


def _parse(text: bytes, kind: TypeAdapter[Content]) -> Content | None:
    try:
        return kind.validate_json(text)
    except ValidationError:
        return None
