"""Signals that ask a run to finish its step, save and stop."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; the signal of schedulers before they kill; the warning signal of Slurm."""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first signal of :data:`STOPPING` into a request: it sets the event. A second one of a kind stops at once.

    Among several processes a second one counts only after seconds, because a launcher also forwards the first.
    """
    stop = threading.Event()
    patience = 5.0 if "WORLD_SIZE" in os.environ else 0.0
    first: dict[int, float] = {}

    def request(number: int, frame: object) -> None:
        stop.set()
        now = time.monotonic()
        if number not in first:
            first[number] = now
        elif now - first[number] >= patience:
            signal.signal(number, before[number])
            signal.raise_signal(number)

    before = {int(number): signal.signal(number, request) for number in STOPPING}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
