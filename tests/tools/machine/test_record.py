"""What happens to a finding, and to a failure."""

import json
import math

import pytest
import torch

from frih.tools.machine.device import Device, out_of_memory
from frih.tools.machine.record import Task, judged, skipped


def test_a_failure_loses_nothing_and_ends_nothing(record):
    def broken():
        yield {"name": "before", "status": "measured"}
        raise ZeroDivisionError("by hand")

    rows = record.run(Task("fast", "broken", broken))
    record.run(Task("fast", "next", lambda: [{"name": "after", "status": "measured"}]))
    assert [row["name"] for row in rows] == ["before", "broken"]
    written = json.loads(record.path.read_text())
    assert [row["status"] for row in written["fast"]] == ["measured", "failed", "measured"]
    assert "ZeroDivisionError: by hand" in written["fast"][1]["traceback"]
    assert [row["name"] for row in record.faults] == ["broken"]


def test_it_is_written_as_it_comes(record):
    def watched():
        yield {"name": "first", "status": "measured"}
        assert [row["name"] for row in json.loads(record.path.read_text())["fast"]] == ["first"]

    record.run(Task("fast", "watched", watched))
    assert not record.faults


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_too_little_memory_is_no_failure(record, error):
    def hungry():
        raise error
        yield

    assert record.run(Task("right", "hungry", hungry))[0]["status"] == "skipped"
    assert not record.faults
    assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_what_comes_too_late_is_skipped_and_said(record):
    record.minutes = -1.0
    (row,) = record.run(Task("fast", "late", lambda: [{"name": "late", "status": "measured"}]))
    assert (row["status"], row["why"]) == ("skipped", "no time left (--minutes)")


def test_a_row_may_belong_to_another_section(record):
    record.run(Task("fast", "both", lambda: [{"name": "one", "status": "right", "section": "right"}]))
    assert record.rows("right") == [{"name": "one", "status": "right"}]
    assert record.rows("fast") == []


def test_judgement():
    bounds = {"a": 1e-3, "b": 1.0}
    assert judged("", {"a": 1e-3, "b": 0.0}, bounds)["status"] == "right"
    assert judged("", {"a": 2e-3, "b": 0.0}, bounds)["status"] == "wrong"
    assert judged("", {"a": math.nan, "b": 0.0}, bounds)["status"] == "wrong"


def test_json_has_words_for_what_is_no_number(record):
    record.add("right", judged("odd", {"a": math.nan}, {"a": math.inf}))
    record.add("right", skipped("none", "why not"))
    assert json.loads(record.path.read_text())["right"][0]["errors"] == {"a": "nan"}


def test_a_median_of_timings(monkeypatch):
    clock = iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr("frih.tools.machine.device.time.perf_counter", lambda: next(clock))
    calls = []
    assert Device(torch.device("cpu")).seconds(lambda: calls.append(1), warm=2, most=3, least=100.0) == 2.0
    assert len(calls) == 5


def test_a_busy_device_tells_its_failures():
    device = Device(torch.device("cpu"))

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), device.busy(fail):
        pass
    turns = []
    with device.busy(lambda: turns.append(1)):
        while not turns:
            pass
