"""What users see when something of theirs is wrong."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from typing import NoReturn

USER_ERROR, STOPPED = 2, 130
"""Exit statuses beside 0: something is to be mended by the user; stopped on request (Ctrl-C, SIGTERM)."""


class UserError(ValueError):
    """Something the user can mend: the message names the file or key at fault and says what to do about it.

    The entry points print it as it is, without a traceback, and exit with status 2. Everything else that is raised is a
    defect of this project.
    """


class SharedError(UserError):
    """A user error that every process of a run raises, for one of each machine to tell."""


class LostConnectionError(UserError):
    """What the other processes of a run raise when one has ended."""


def run_command(command: Callable[[], int]) -> NoReturn:
    """Runs an entry point and exits with the status it returns.

    A :class:`UserError` is printed, and so is what the operating system refuses (a full disk, a file where a folder should be),
    whose message names the file; the status is then 2. Of several processes that fail alike one tells it.
    """
    rank, local_rank = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    try:
        sys.exit(command())
    except (UserError, OSError) as error:
        process = f"\n[process {rank}] " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
        if not (isinstance(error, SharedError | LostConnectionError) and local_rank):
            print(f"{process}error: {error}", file=sys.stderr)
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
    """Around what every process of a run does alike, before they are connected: its user errors are :class:`SharedError`."""
    try:
        yield
    except UserError as error:
        raise SharedError(str(error)) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'nearest'?"``, or nothing where no known word is near."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def need(*packages: str, extra: str) -> None:
    """Looks for packages that come with an extra of this one.

    Raises:
        UserError: some are not installed.
    """
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise UserError(f'{", ".join(lacking)}: not installed; pip install ".[{extra}]"')
