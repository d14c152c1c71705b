"""What is told while a user waits."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from tqdm import tqdm


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> "tqdm[Any]":
    """A tqdm bar with tqdm's own options, on stderr. In a log file, where each update is a line, it moves every 30 seconds.

    There is none where stderr is closed.
    """
    if sys.stderr is None:
        options["disable"] = True
    elif not sys.stderr.isatty():
        options |= {"mininterval": 30.0, "maxinterval": 30.0}
    return tqdm(items, **options)


@contextmanager
def told_if_slow(text: str, seconds: float = 2.0, applies: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Prints a line on stderr if the ``with`` block takes longer than this.

    Args:
        text: the line.
        seconds: the wait.
        applies: whether the text is the reason; asked again each time that so many seconds have passed.
    """
    ended = Event()

    def tell() -> None:
        while not ended.wait(seconds):
            if applies():
                tqdm.write(text, file=sys.stderr)
                return

    Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
