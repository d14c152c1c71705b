"""Files that are whole or not there: whatever stops a program, no half file bears a final name. And folders of one writer."""

import fcntl
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

from frih.common.errors import UserError

AnyPath = TypeVar("AnyPath", str, Path)
_held: set[int] = set()
"""Descriptors of the locks that this process holds."""


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


def write_whole(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Writes text (UTF-8) or bytes as :func:`whole_file` does."""
    with whole_file(path, durable=durable) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def by_stem(paths: Iterable[AnyPath]) -> dict[str, list[AnyPath]]:
    """Paths or file names by their name without suffix, sorted."""
    stems: dict[str, list[AnyPath]] = {}
    for path in sorted(paths, key=lambda path: (PurePath(path).stem, path)):
        stems.setdefault(PurePath(path).stem, []).append(path)
    return stems


def is_part(path: Path) -> bool:
    """Whether a file was left behind by a writer that was killed (or is being written just now)."""
    return path.name.startswith(".") and path.suffix == ".part"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes that lock the same path out until the ``with`` block ends, or this process does, however it ends.

    The lock is the operating system's, upon a file that is removed in the end; one that a killed process left keeps no one out.
    Where a file system knows no locks, as some of networks do not, there is none.

    Args:
        path: of the lock file, as ``folder / ".lock"``, in the folder to be kept; the folder exists.

    Raises:
        UserError: another process, which is named, holds it.
        OSError: the file cannot be made there.
    """
    descriptor = _lock(path)
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        if descriptor in _held:  # not so in a forked process that comes this way
            _held.remove(descriptor)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)


def _lock(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(descriptor)
            raise UserError(f"{path.parent}: {holder} is at work there; wait until it has ended, or end it") from None
        except OSError:
            return descriptor
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # its holder removed the file between the two calls


def _leave_locks() -> None:
    """A forked process would hold its parent's locks even after the parent was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_locks)
