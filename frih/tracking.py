"""What a run writes while it trains: ``metrics.jsonl`` and TensorBoard events."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from frih.files import write_whole


class Tracker:
    """Both sinks of a run's figures, by step.

    A run that is resumed at step ``start`` first forgets what it had logged after it, for it will log that again.
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        self.path = run / "metrics.jsonl"
        _keep_until(self.path, start)
        self.board = SummaryWriter(str(run), purge_step=start + 1 if start else None)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds one line to ``metrics.jsonl``, ``{"step": ..., "train/loss": ..., ...}``, and a point to each curve.

        A value that is not finite (the gradient's norm, where fp16 overflows) is null in JSON.
        """
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")
        for name, value in metrics.items():
            self.board.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Shows a picture, (H, W, 3) uint8."""
        self.board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Writes out what is still held back."""
        self.board.close()


def _keep_until(path: Path, step: int) -> None:
    """Cuts a log of JSON lines after the last one of ``step``; a half-written last line goes too."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    write_whole(path, "".join(kept))
