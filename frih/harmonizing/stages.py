"""Work on many items in three stages: threads share the first and the last, the middle one takes several items at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar

from frih.common.processes import cores

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Made = TypeVar("Made")
Result = TypeVar("Result")


def staged(
    items: Iterable[Item],
    begin: Callable[[Item], Begun],
    together: Callable[[Sequence[Begun]], Sequence[Made]],
    finish: Callable[[Begun, Made], Result],
    size: int,
) -> Iterator[Result | Exception]:
    """What the stages make of each item, in order.

    Items are taken as results are. The stages are ahead of them by two items a core and two groups at least, so memory is
    bounded. When the iterator is closed, work that has not begun is dropped.

    Args:
        items: are taken in the caller's thread.
        begin: the first stage, in one of as many threads as there are cores.
        together: the middle stage, in a thread of its own: from what ``begin`` has made of some items, in order.
        finish: the last stage, in the same threads as the first.
        size: the most items of the middle stage.

    Yields:
        For each item, what ``finish`` returns; or the exception of the stage that failed. If the middle stage fails, all of its
        items have.

    Raises:
        Exception: of ``items``, once the results of the items before it are out.
    """
    source, threads = _Source(items), cores()
    pool, middle = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)

    def go_on(begun: list[Future[Begun]]) -> list[Future[Result] | Exception]:
        failures = [_failure(one) for one in begun]  # CancelledError ends this when the iterator is closed
        good = [one.result() for one, failure in zip(begun, failures, strict=True) if failure is None]
        try:
            made = iter(together(good) if good else ())
        except Exception as error:
            return [failure or error for failure in failures]
        return [
            failure or pool.submit(finish, one.result(), next(made))
            for one, failure in zip(begun, failures, strict=True)
        ]

    try:
        groups: deque[Future[list[Future[Result] | Exception]]] = deque()
        while True:
            while len(groups) < 2 + 2 * threads // size and (group := source.take(size)):
                groups.append(middle.submit(go_on, [pool.submit(begin, item) for item in group]))
            if not groups:
                break
            for outcome in groups.popleft().result():
                failure = outcome if isinstance(outcome, Exception) else _failure(outcome)
                yield failure or outcome.result()  # type: ignore[union-attr]
        if source.failure:
            raise source.failure
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        middle.shutdown(cancel_futures=True)
        pool.shutdown()


class _Source(Generic[Item]):
    """Items, up to the one that cannot be had; ``failure`` says why."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = iter(items)
        self.failure: Exception | None = None

    def take(self, count: int) -> list[Item]:
        taken: list[Item] = []
        try:
            for item in islice(self.items, 0 if self.failure else count):
                taken.append(item)  # noqa: PERF402 - what was taken before a failure counts
        except Exception as error:
            self.failure = error
        return taken


def _failure(future: Future[Any]) -> Exception | None:
    error = future.exception()
    return error if isinstance(error, Exception) else None
