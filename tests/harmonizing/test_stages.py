import threading
import time

import pytest

from frih.harmonizing.stages import staged


def run(items, size=2, **stages):
    """Each item, doubled, with the number of those that were in the middle stage with it."""
    usual = {
        "begin": lambda item: 2 * item,
        "together": lambda begun: [len(begun)] * len(begun),
        "finish": lambda begun, made: (begun, made),
    }
    return staged(items, **{**usual, **stages}, size=size)


def late(item):
    time.sleep(0.02 * (item % 3 == 0))
    return 2 * item


def test_results_are_in_order_and_groups_are_full():
    assert list(run(range(7), 3, begin=late)) == [(0, 3), (2, 3), (4, 3), (6, 3), (8, 3), (10, 3), (12, 1)]
    assert list(run([])) == []


def fail(item, *_):
    if item in (2, 3):
        raise ValueError(item)
    return item


@pytest.mark.parametrize(
    ("stage", "failed"), [({"begin": fail}, [2, 3]), ({"begin": int, "finish": fail}, [2, 3])], ids=["begin", "finish"]
)
def test_a_failure_takes_its_items_place(stage, failed):
    found = list(run(range(6), 3, **stage))
    assert [place for place, outcome in enumerate(found) if isinstance(outcome, ValueError)] == failed
    assert len(found) == 6


def test_a_failure_in_the_middle_is_that_of_all_its_items():
    error = ValueError("full")

    def together(begun):
        if 4 in begun:
            raise error
        return begun

    assert list(run(range(6), 2, together=together)) == [(0, 0), (2, 2), error, error, (8, 8), (10, 10)]


def test_results_before_a_failure_of_the_source_are_not_lost():
    def source():
        yield from range(3)
        raise ValueError("no more")

    found = run(source(), 2)
    assert [next(found)[0] for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="no more"):
        next(found)


def test_the_source_is_never_far_ahead(monkeypatch):
    monkeypatch.setattr("frih.harmonizing.stages.cores", lambda: 2)
    taken = []
    found = run((taken.append(number) or number for number in range(100)), 2)
    assert not taken
    for done in range(10):
        next(found)
        assert len(taken) <= done + 1 + 8  # two groups, and two items for each of two cores


def test_a_closed_iterator_leaves_no_thread():
    before = threading.active_count()
    found = run(iter(range(10**6)), 2, begin=late)
    next(found)
    found.close()
    assert threading.active_count() == before


def test_a_closed_iterator_does_not_wait_for_work_that_has_not_begun(monkeypatch):
    monkeypatch.setattr("frih.harmonizing.stages.cores", lambda: 2)
    begun = []
    found = run(range(100), 8, begin=lambda item: time.sleep(0.05) or begun.append(item))
    for _ in range(9):
        next(found)
        time.sleep(0.01)
    closing = threading.Thread(target=found.close, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    assert len(begun) < 24
