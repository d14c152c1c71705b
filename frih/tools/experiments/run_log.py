"""What a run has logged, in its ``metrics.jsonl``."""

from pathlib import Path

from frih.common.lines import json_lines, read_json_lines
from frih.training.logged import LOGGED, Logged


def read_lines(path: Path, *, timings: bool = True) -> list[Logged]:
    """The lines of a log; none without a file. Timings are left out if they are not wanted, and so is an unfinished last line.

    Raises:
        UserError: another line is damaged.
    """
    lines = read_json_lines(path, LOGGED)
    return [{key: value for key, value in line.items() if timings or not key.startswith("time/")} for line in lines]


def latest(run: Path) -> Logged:
    """The last figure of each kind that a run has logged, and its ``step``. What cannot be read is passed over."""
    figures: Logged = {}
    for _, line in json_lines(run / "metrics.jsonl", LOGGED):
        figures |= line or {}
    return figures
