"""Errors that a user can correct, and how they are printed."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from typing import NoReturn

from frih.common.console import prepare_streams

USER_ERROR, STOPPED = 2, 130
"""Exit statuses besides 0: the user has to correct something; the program was stopped (Ctrl-C, SIGTERM)."""

_ROOM = "make room there, then go on; what was written before is whole"
_PLACE = "give the right to use it, or give another place"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: _PLACE,
    errno.EACCES: _PLACE,
    errno.EPERM: _PLACE,
    errno.EIO: "the disk or the connection to it fails; save what is there, and give another place",
}
"""What to do about errors of the operating system."""


class UserError(ValueError):
    """An error that the user can correct. The message names the file or key and says what to do.

    The entry points print it without a traceback and exit with status 2. Every other exception is a defect of this project.
    """


class SharedError(UserError):
    """A user error that every process of a run raises; one process of each machine prints it."""


class LostConnectionError(UserError):
    """The other processes of a run raise this when one has ended."""


def run_command(command: Callable[[], int]) -> NoReturn:
    """Runs an entry point and exits with the status it returns.

    A :class:`UserError` is printed, and so is an OSError (a full disk, a file instead of a folder), as :func:`describe` has it.
    The status is then 2. If several processes fail with the same error, one prints it. What is printed may get lost
    (:mod:`frih.common.console`).
    """
    prepare_streams()
    rank, local_rank = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    try:
        status = command()
        sys.stdout.flush()
        sys.exit(status)
    except (UserError, OSError) as error:
        process = f"\n[process {rank}] " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
        if not (isinstance(error, SharedError | LostConnectionError) and local_rank):
            print(f"{process}error: {describe(error)}", file=sys.stderr)
        status = USER_ERROR
    except KeyboardInterrupt:
        if not local_rank:
            print("stopped", file=sys.stderr)
        status = STOPPED
    except Exception:
        if "WORLD_SIZE" not in os.environ:
            raise
        traceback.print_exc()
        status = 1
    if "WORLD_SIZE" in os.environ:  # the usual way out would wait for processes that wait for this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


@contextmanager
def alike() -> Iterator[None]:
    """Turns user errors into :class:`SharedError`, for work that every process of a run does before they are connected."""
    try:
        yield
    except UserError as error:
        raise SharedError(str(error)) from None


def describe(error: Exception) -> str:
    """An error's message; that of an OSError begins with the file, and ends with what to do if that is known."""
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    other = f" (for {error.filename2})" if error.filename2 else ""
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{error.filename}: {error.strerror}{other}{f'; {remedy}' if remedy else ''}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'nearest'?"``, or nothing if no known word is near."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """For a program's imports of what an extra installs: without it, the program ends as :func:`run_command` ends it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "frih"):
            raise
        run_command(partial(_refuse, [package], name))


def need(*packages: str, extra: str) -> None:
    """Checks that packages of an extra are installed.

    Raises:
        UserError: some are not installed.
    """
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        _refuse(lacking, extra)


def _refuse(packages: list[str], extra: str) -> NoReturn:
    raise SharedError(f'{", ".join(packages)}: not installed; pip install ".[{extra}]"')
