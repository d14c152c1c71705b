"""Requests to stop: signals that let a step be finished and saved."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what schedulers send before they kill; what Slurm sends when it is asked to warn."""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first signal of :data:`STOPPING` into a request, which sets the event; a second one of a kind stops at once.

    Among several processes a second one counts only seconds later, for a launcher hands on what its processes got as well.
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
