"""TensorBoard's file of events, written at once. PyTorch's writer has a thread, in which a full disk ends in a traceback."""

import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import histogram_raw, image, scalar

from frih.common.files import naming


class Board:
    """Curves, histograms and images by step, in a new file.

    Every method may raise an OSError, which names the file.

    Args:
        run: the folder that TensorBoard shows as one run.
        start: the step the run goes on from; TensorBoard no longer shows what older files have after it.
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        begun = time.time_ns()  # two files of one second are kept apart
        self.path = run / f"events.out.tfevents.{begun // 10**9:010d}.{platform.node()}.{os.getpid()}.{begun % 10**9}"
        run.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("wb")
        self.records = RecordWriter(self.file)
        self._add(file_version="brain.Event:2")
        if start:
            self._add(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds a point to a curve."""
        self._add(step=step, summary=scalar(name, value))  # type: ignore[no-untyped-call]

    def histogram(self, name: str, counts: np.ndarray, step: int) -> None:
        """Adds a histogram of how often 0, 1, 2, ... occurred."""
        values = np.arange(len(counts))
        total, squares = float(counts @ values), float(counts @ values**2)
        edges, held = (values + 0.5).tolist(), counts.tolist()
        ends = 0, len(counts) - 1, int(counts.sum())
        summary = histogram_raw(name, *ends, total, squares, edges, held)  # type: ignore[no-untyped-call]
        self._add(step=step, summary=summary)

    def image(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Shows an image, (H, W, 3) uint8."""
        self._add(step=step, summary=image(name, pixels, dataformats="HWC"))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Closes the file."""
        with naming(self.path):
            self.file.close()

    def _add(self, **content: Any) -> None:
        with naming(self.path):
            self.records.write(Event(wall_time=time.time(), **content).SerializeToString())
            self.file.flush()
