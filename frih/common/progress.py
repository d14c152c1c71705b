"""Progress bars."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

IN_A_FILE: dict[str, Any] = {"mininterval": 30.0, "maxinterval": 30.0}
"""Seconds between two states of a bar that goes to a log file, where each stays."""


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> "tqdm[Any]":
    """A tqdm bar with tqdm's own options, on stderr; moves ten times a second on a terminal and seldom in a file."""
    pace: dict[str, Any] = {} if sys.stderr.isatty() else IN_A_FILE
    return tqdm(items, **pace, **options)
