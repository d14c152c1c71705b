"""Files that are either complete or absent, whatever stops the program; and folders with one writer at a time."""

import errno
import hashlib
import io
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeVar

from frih.common.errors import UserError

AnyPath = TypeVar("AnyPath", str, Path)


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file in memory, which is written as :func:`write_whole` does when the ``with`` block ends without an error.

    In memory, because Pillow and others report a full disk by errors of their own, which name no file.
    """
    memory = io.BytesIO()
    yield memory
    write_whole(path, memory.getbuffer(), durable=durable)


def write_whole(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Writes a file, which gets its name, and replaces an older one, once it is complete.

    Until then the content is in a hidden file beside it (:func:`is_part`). Only a killed process leaves that behind.

    Args:
        path: in a folder that exists.
        content: bytes, or text, which is written in UTF-8; in file names, bytes that are no text are escaped.
        durable: wait until the content is on the disk, so that it survives a loss of power.

    Raises:
        OSError: the file, which the error names, cannot be written; an older file of that name is still there.
    """
    with whole_path(path) as part, part.open("wb") as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """A hidden file for the ``with`` block to write. At its end it gets the given name, and replaces an older one.

    If the block fails, the hidden file is removed; an older file of that name is still there.

    Args:
        path: in a folder that exists.

    Raises:
        OSError: the file, which the error names, cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming(path, part):
            yield part
            part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def append(path: Path, content: str | bytes) -> None:
    """Adds text (UTF-8) or bytes to the end of a file, or begins it.

    Raises:
        OSError: the file, which the error names, cannot be written; the content may then be there in part.
    """
    with naming(path), path.open("ab") as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """Gives errors of the operating system the name of a file. That a disk is full, Python says without one.

    Args:
        path: the name.
        part: the name of a file that stands for it; an error that has this one is renamed.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, os.fspath(part or path)):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def sha256_of(path: Path | None) -> str:
    """Identifies a file's content, whatever its name and time; without a file, nothing's."""
    digest = hashlib.sha256()
    if path:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def by_stem(paths: Iterable[AnyPath]) -> dict[str, list[AnyPath]]:
    """Paths or file names by their name without suffix, sorted."""
    stems: dict[str, list[AnyPath]] = {}
    for path in sorted(paths, key=lambda path: (PurePath(path).stem, path)):
        stems.setdefault(PurePath(path).stem, []).append(path)
    return stems


def is_part(path: Path) -> bool:
    """Whether a file is the unfinished part of another: its writer was killed, or is at work."""
    return path.name.startswith(".") and path.suffix == ".part"


def is_hidden(name: str) -> bool:
    """Whether an operating system keeps a file of this name for itself, as macOS its ``._a.jpg`` and ``.DS_Store``."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Makes a folder, and those above it. Those that are still empty when the ``with`` block ends are removed.

    Raises:
        OSError: it cannot be made.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for one in missing:
            with suppress(OSError):
                one.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes that lock the same path out until the ``with`` block ends, or this process does.

    The operating system holds the lock, so the lock file of a killed process keeps no one out. Some network file systems know
    no locks; there is none there.

    Args:
        path: of the lock file, as ``folder / ".lock"``. It is removed at the end.

    Raises:
        UserError: another process holds the lock; the message names it.
        OSError: the file cannot be made there.
    """
    import filelock  # only those who train need it

    # where the file system knows no locks, version 4 would take the existence of the file for one unless told otherwise
    hard: dict[str, Any] = {"fallback_to_soft": False} if int(filelock.__version__.split(".")[0]) >= 4 else {}
    process = os.getpid()
    lock = filelock.FileLock(path, timeout=0.1, **hard)  # a little time, for a holder that is just removing its file
    try:
        lock.acquire()
    except filelock.Timeout:
        holder = ""
        with suppress(OSError):
            holder = path.read_text(encoding="utf-8", errors="replace")
        raise UserError(
            f"{path.parent}: {holder or 'another process'} is at work there; wait until it has ended, or end it"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    try:
        with naming(path):
            path.write_text(f"process {process} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        if os.getpid() == process:  # and not one forked from it
            with suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()
