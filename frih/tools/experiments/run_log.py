"""What a run has logged, in its ``metrics.jsonl``."""

import json
from pathlib import Path
from typing import Any


def read_lines(path: Path, *, timings: bool = True) -> list[dict[str, Any]]:
    """JSON lines; none without a file. A last line that is not whole is left out, and so are timings if they are not wanted."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [{key: value for key, value in line.items() if timings or not key.startswith("time/")} for line in lines]


def latest(run: Path) -> dict[str, float]:
    """The last figure of each kind that a run has logged, and its ``step``."""
    figures: dict[str, float] = {}
    for line in read_lines(run / "metrics.jsonl"):
        figures |= line
    return figures
