"""Paths as people write them: ``~/folder`` is in one's home folder, also where no shell has replaced the ``~``."""

import os
from argparse import ArgumentTypeError
from pathlib import Path

from frih.common.errors import UserError


def at_home(path: str) -> str:
    """A path with the home folder in place of ``~`` or ``~user`` at its start; a file ``~name`` where no user is called so.

    Raises:
        UserError: there is no such user, or no path can have these characters.
    """
    if "\0" in path:
        raise UserError(f"{path!r} is no path: it holds a NUL character")
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except (RuntimeError, UnicodeError):
        if os.path.exists(path):  # noqa: PTH110  (it may be too long for a path)
            return path
        user = path.partition("/")[0]
        raise UserError(f"{user} has no home folder here; write ./{path} for a file or folder of that name") from None


def path_argument(text: str) -> Path:
    """The ``type`` of arguments that are paths: a shell leaves the ``~`` of ``--out=~/folder`` as it is.

    Raises:
        ArgumentTypeError: as :func:`at_home`.
    """
    try:
        return Path(at_home(text))
    except UserError as error:
        raise ArgumentTypeError(str(error)) from None
