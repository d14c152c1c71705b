"""The log of a run: ``metrics.jsonl`` and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from frih.common.files import append, write_whole
from frih.training.board import Board


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
        _keep_until(self.path, start, start if validated is None else validated)
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
        self.board.figures(metrics, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows an image, (H, W, 3) uint8."""
        self.board.image(name, image, step)


def _keep_until(path: Path, step: int, validated: int) -> None:
    """Cuts a log of JSON lines after those of ``step``, and a half-written last line."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        entry = json.loads(line)
        last = validated if any(name.startswith("val/") for name in entry) else step
        if entry["step"] <= last:
            kept.append(line)
    write_whole(path, "".join(kept))
