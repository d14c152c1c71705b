"""What users see when something of theirs is wrong."""

import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NoReturn

USER_ERROR, STOPPED = 2, 130
"""Exit statuses beside 0: something is to be mended by the user; stopped on request (Ctrl-C, SIGTERM)."""


class UserError(ValueError):
    """Something the user can mend: the message names the file or key at fault and says what to do about it.

    The entry points print it as it is, without a traceback, and exit with status 2. Everything else that is raised is a
    defect of this project.
    """


def run_command(command: Callable[[], int]) -> NoReturn:
    """Runs an entry point and exits with the status it returns.

    A :class:`UserError` is printed, and so is what the operating system refuses (a full disk, a file where a folder should be),
    whose message names the file; the status is then 2.
    """
    try:
        sys.exit(command())
    except (UserError, OSError) as error:
        process = f"\n[process {os.environ['RANK']}] " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
        print(f"{process}error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(STOPPED)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'nearest'?"``, or nothing where no known word is near."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
