"""TensorBoard's file of events, written at once. PyTorch's writer has a thread, in which a full disk ends in a traceback."""

import io
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import histogram_raw, image, scalar

from frih.common.files import append


class Board:
    """Curves, histograms and images by step, in a new file, which is opened for each writing.

    Every method may raise an OSError, which names the file.

    Args:
        run: the folder that TensorBoard shows as one run.
        start: the step the run goes on from; TensorBoard no longer shows what older files have after it.
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        older = (path.name.split(".")[3] for path in run.glob("events.out.tfevents.*"))
        seconds = [int(text) + 1 for text in older if text.isdecimal()]
        begun = max(
            time.time_ns(), 10**9 * max(seconds, default=0)
        )  # TensorBoard reads them by name, whatever the clock says
        self.path = run / f"events.out.tfevents.{begun // 10**9:010d}.{platform.node()}.{os.getpid()}.{begun % 10**9}"
        self._write(Event(file_version="brain.Event:2"))
        if start:
            self._write(Event(step=start + 1, session_log=SessionLog(status=SessionLog.START)))

    def figures(self, metrics: Mapping[str, float | list[float]], step: int) -> None:
        """Adds a point to each curve. A list holds how often 0, 1, 2, ... occurred, and becomes a histogram."""
        self._write(*(Event(step=step, summary=_summary(name, value)) for name, value in metrics.items()))

    def image(self, name: str, pixels: np.ndarray, step: int) -> None:
        """Shows an image, (H, W, 3) uint8."""
        summary = image(name, pixels, dataformats="HWC")  # type: ignore[no-untyped-call]
        self._write(Event(step=step, summary=summary))

    def _write(self, *events: Event) -> None:
        content = io.BytesIO()
        records = RecordWriter(content)
        for event in events:
            event.wall_time = time.time()
            records.write(event.SerializeToString())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append(self.path, content.getvalue())


def _summary(name: str, value: float | list[float]) -> Any:
    if not isinstance(value, list):
        return scalar(name, value)  # type: ignore[no-untyped-call]
    counts, values = np.array(value), np.arange(len(value))
    total, squares = float(counts @ values), float(counts @ values**2)
    ends = 0, len(counts) - 1, int(counts.sum())
    edges = (values + 0.5).tolist()
    return histogram_raw(name, *ends, total, squares, edges, counts.tolist())  # type: ignore[no-untyped-call]
