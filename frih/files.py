"""Files that are whole or not there: whatever stops a program, no half file bears a final name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes its name, in place of an older one, when the ``with`` block ends without an error.

    Until then it is a hidden part beside it (:func:`is_part`), which only a killed process leaves behind.

    Args:
        path: in a folder that exists.
        durable: wait until the disk has it, so that not even a loss of power undoes it.

    Raises:
        OSError: it cannot be written; what ``path`` named before is still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Writes text (UTF-8) or bytes as :func:`whole_file` does."""
    with whole_file(path, durable=durable) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def is_part(path: Path) -> bool:
    """Whether a file was left behind by a writer that was killed (or is being written just now)."""
    return path.name.startswith(".") and path.suffix == ".part"
