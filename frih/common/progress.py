"""Progress bars."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> "tqdm[Any]":
    """A tqdm bar with tqdm's own options, on stderr. In a log file, where each update is a line, it moves every 30 seconds.

    There is none where stderr is closed.
    """
    if sys.stderr is None:
        options["disable"] = True
    elif not sys.stderr.isatty():
        options |= {"mininterval": 30.0, "maxinterval": 30.0}
    return tqdm(items, **options)
