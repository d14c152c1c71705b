"""Work spread over processes that end with the one that started them."""

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
    """``map`` over a sequence: the results one after the other, in the order of the tasks."""

    def __call__(self, function: Callable[[Task], Result], tasks: Sequence[Task], /) -> Iterable[Result]: ...  # noqa: D102


@contextmanager
def process_pool(workers: int, *, chunk: int = 1) -> Iterator[Map]:
    """A ``map`` over so many processes; over this one alone where one will do.

    The processes leave Ctrl-C to this one and end when it is killed; what is not begun when the block ends stays undone.

    Args:
        workers: how many processes.
        chunk: tasks that go to a process at once; more than 1 where a task takes less than some milliseconds.

    Raises:
        UserError: a process was killed.
    """
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent)

    def each(function: Callable[[Task], Result], tasks: Sequence[Task], /) -> Iterable[Result]:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the processes begun here
        try:
            return pool.map(function, tasks, chunksize=chunk)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    try:
        yield each
    except BrokenProcessPool:
        raise UserError("a process was killed, perhaps for want of memory; try again with fewer (--workers)") from None
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
