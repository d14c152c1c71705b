"""What users see when something of theirs is wrong."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user can mend: the message names the file or key at fault and says what to do about it.

    The entry points print it as it is, without a traceback, and exit with status 2. Everything else that is raised is a
    defect of this project.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'nearest'?"``, or nothing where no known word is near."""
    nearest = get_close_matches(word, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
