"""Work in several processes, which end when the process that started them ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

from frih.common.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


class Map(Protocol):
    """``map`` over a sequence: the results in the order of the tasks."""

    def __call__(self, function: Callable[[Task], Result], tasks: Sequence[Task], /) -> Iterable[Result]: ...  # noqa: D102


@contextmanager
def process_pool(workers: int, *, chunk: int = 1) -> Iterator[Map]:
    """A ``map`` over several processes, or in this process if ``workers`` is 1.

    The processes ignore Ctrl-C and end when this process is killed. Tasks that have not begun when the block ends are dropped.

    Args:
        workers: how many processes.
        chunk: how many tasks go to a process at once; more than 1 if a task takes only a few milliseconds.

    Raises:
        UserError: a process was killed.
    """
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)

    def each(function: Callable[[Task], Result], tasks: Sequence[Task], /) -> Iterable[Result]:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the new processes inherit this
        try:
            return pool.map(function, tasks, chunksize=chunk)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    try:
        yield each
    except BrokenProcessPool:
        raise UserError(
            "a process was killed, perhaps because memory ran out; try again with fewer (--workers)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
