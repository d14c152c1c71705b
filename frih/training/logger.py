"""The log of a run: ``metrics.jsonl`` and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from frih.common.files import append, write_whole
from frih.common.lines import Line, damaged_line, json_lines
from frih.training.board import Board
from frih.training.logged import LOGGED, Logged


class RunLogger:
    """Writes figures by step.

    A resumed run first removes the lines after the step it goes back to, because it will write them again.

    Args:
        run: its folder.
        start: the step it goes on from.
        validated: the step of its last validation; later lines with ``val/`` are removed as well.
    """

    def __init__(self, run: Path, start: int = 0, validated: int | None = None) -> None:
        self.path = run / "metrics.jsonl"
        kept = _keep_until(self.path, start, start if validated is None else validated)
        self.validations: list[Logged] = [line for line in kept if _validates(line)]
        """The lines of validations."""
        self.board = Board(run, start)

    def log(self, metrics: Mapping[str, float | list[float]], step: int) -> None:
        """Adds one line to ``metrics.jsonl``, ``{"step": ..., "train/loss": ..., ...}``, and a point to each curve.

        A list holds how often 0, 1, 2, ... occurred, and becomes a histogram. A value that is not finite is null in JSON.
        """
        line = {
            name: value if isinstance(value, list) or math.isfinite(value) else None for name, value in metrics.items()
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append(self.path, json.dumps({"step": step, **line}) + "\n")
        if _validates(line):
            self.validations.append({"step": step, **line})
        self.board.figures(metrics, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows an image, (H, W, 3) uint8."""
        self.board.image(name, image, step)


def _validates(line: Mapping[str, Any]) -> bool:
    return any(name.startswith("val/") for name in line)


def _keep_until(path: Path, step: int, validated: int) -> list[Logged]:
    """Cuts a log after the lines of ``step``, and returns those; what is damaged after them goes as well, with a word.

    Raises:
        UserError: a line among those to keep is damaged.
    """
    kept: list[tuple[bytes, Logged]] = []
    damaged: list[Line] = []
    for line, entry in json_lines(path, LOGGED):
        if entry is None:
            damaged.append(line)
        elif entry["step"] <= (validated if _validates(entry) else step):
            if damaged:
                raise damaged_line(path, damaged[0])
            kept.append((line.text, entry))
    for line in damaged:
        how = "damaged" if line.finished else "unfinished, as after a kill"
        tqdm.write(f"{path}: line {line.number} is {how}; left out")
    if path.is_file():
        write_whole(path, b"".join(text for text, _ in kept))
    return [entry for _, entry in kept]
