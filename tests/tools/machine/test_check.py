"""The program: what it writes, prints and returns, and what becomes of a failure."""

import json
import math
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from frih.tools.machine import check, fast, steps, tables, together
from frih.tools.machine.check import check_machine
from frih.tools.machine.device import Device, facts, out_of_memory
from frih.tools.machine.record import Task, judged, skipped
from frih.tools.machine.setting import options_for

ROOT = Path(__file__).parents[3]


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs the program in this process; returns its exit status and what it prints."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["check_machine.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts/check_machine.py"), run_name="__main__")
        said = capsys.readouterr()
        return caught.value.code, said.out + said.err

    monkeypatch.chdir(ROOT)
    return run


def test_everything_small(small_config, dataset, tmp_path, monkeypatch):
    """All sections, for the base network alone; test_right.py has the processes and the other networks."""
    monkeypatch.setattr(together, "check", lambda setting: [])
    for module in (steps, fast):
        monkeypatch.setattr(module, "cores", lambda: 1)
    config = small_config(data={"root": str(dataset)}, model={"cascade": False, "fusion": False})
    (tmp_path / "work").mkdir()
    said, path = [], tmp_path / "machine.json"
    options = options_for(False, quick=True, precisions=("fp32",), batches=(1, 2))
    record = check_machine(torch.device("cpu"), config, options, path, tmp_path / "work", said.append)
    assert not record.faults, record.faults
    written = json.loads(path.read_text())
    for section in ("right", "fast", "parts", "loader", "rates", "limit"):
        assert written[section], section
        assert all(row["status"] in ("right", "measured") for row in written[section])
    assert written["machine"]["torch"] == torch.__version__
    assert written["follows"]["options"][0] == "train.batch=4"
    text = "\n".join(said)
    shown = ("base network, fp32, channels last", "Images a second", "parts of a step", "loader beside", "bandwidth")
    for words in (*shown, "near the limit", "hours"):
        assert words in text


def test_a_wrong_check_makes_the_exit_status_1(script, tmp_path, monkeypatch, record):
    record.add("right", {"name": "something", "status": "wrong"})
    monkeypatch.setattr(check, "check_machine", lambda *_: record)
    status, said = script("--out", tmp_path)
    assert status == 1
    assert "1 wrong or failed" in said
    assert "WRONG: something" in said
    record.rows("right")[0]["status"] = "right"
    assert script("--out", tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batches", 0], "--batches: must be 1 or more"),
        (["--minutes", 0], "--minutes: must be above 0"),
        (["--size", 100], "data.size"),
        (["data.rot=x"], "did you mean 'data.root'"),
        pytest.param(
            ["--device", "cuda"],
            "sees no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
    ],
)
def test_command_lines_that_make_no_sense(script, tmp_path, words, message):
    status, said = script("--out", tmp_path, *words)
    assert status == 2
    assert message in said


def test_a_gpu_and_a_cpu_have_different_options():
    gpu, quick, cpu = options_for(True), options_for(True, quick=True), options_for(False)
    assert gpu.precisions == ("fp32", "tf32", "bf16", "fp16")
    assert gpu.batches == (1, 16, 32, 64, 128)
    assert [(one.minutes, one.compile) for one in (gpu, quick, cpu)] == [(3.0, True), (1.0, False), (10.0, False)]
    given = options_for(False, batches=(7,), compile=True, minutes=2.0, precisions=None)
    assert (given.batches, given.compile, given.minutes, given.precisions) == ((7,), True, 2.0, ("fp32", "bf16"))


def test_a_gpus_plan_has_the_dense_form_and_compiling_last(make_setting, record, monkeypatch):
    """The tasks alone: there is no GPU to do them."""
    setting = make_setting(precisions=("fp32", "tf32", "bf16", "fp16"), quick=False, compile=True)
    monkeypatch.setattr(setting.device, "is_gpu", True)
    names = {title: [task.name for task in tasks] for title, tasks in check.plan(setting, record).items()}
    assert list(names) == ["right", "fast", "limit", "compiled"]
    assert names["fast"][:4] == [f"FRIH, training, {one}" for one in ("fp32", "tf32", "bf16", "fp16")]
    assert "FRIH, dense, training, bf16" in names["fast"]
    assert "FRIH, dense" in names["right"]
    assert names["compiled"] == ["base network, compiled", "FRIH, compiled"]


def test_facts_about_gpus(monkeypatch):
    gpu = SimpleNamespace(name="H100", total_memory=80 * 2**30, major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: gpu)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    found = facts(torch.device("cuda", 0))
    assert [one["memory_gib"] for one in found["gpus"]] == [80.0, 80.0]
    assert found["nccl"] == "2.27.5"
    assert "H100 (80.0 GiB, 9.0), H100" in tables.heading(found)


def test_a_failure_loses_nothing_and_ends_nothing(record):
    def broken():
        yield {"name": "before", "status": "measured"}
        assert [row["name"] for row in json.loads(record.path.read_text())["fast"]] == ["before"]  # written at once
        raise ZeroDivisionError("by hand")

    rows = record.run(Task("fast", "broken", broken))
    record.run(Task("fast", "next", lambda: [{"name": "after", "status": "measured"}]))
    assert [row["name"] for row in rows] == ["before", "broken"]
    written = json.loads(record.path.read_text())
    assert [row["status"] for row in written["fast"]] == ["measured", "failed", "measured"]
    assert "ZeroDivisionError: by hand" in written["fast"][1]["traceback"]
    assert [row["name"] for row in record.faults] == ["broken"]


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
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_row_may_belong_to_another_section_and_a_late_task_is_skipped(record):
    task = Task("fast", "both", lambda: [{"name": "one", "status": "right", "section": "right"}])
    record.run(task)
    record.minutes = -1.0
    record.run(task)
    assert record.rows("right") == [{"name": "one", "status": "right"}]
    assert record.rows("fast") == [skipped("both", "no time left (--minutes)")]


@pytest.mark.parametrize(("error", "status"), [(1e-3, "right"), (2e-3, "wrong"), (math.nan, "wrong")])
def test_judgement(record, error, status):
    row = judged("", {"a": error, "b": 0.0}, {"a": 1e-3, "b": math.inf})
    assert row["status"] == status
    record.add("right", row)
    record.add("right", skipped("none", "why not"))
    assert json.loads(record.path.read_text())["right"][0]["allowed"]["b"] == "inf"  # JSON has no such number


def test_a_busy_device_works_meanwhile_and_tells_its_failures():
    device, turns = Device(torch.device("cpu")), []
    with device.busy(lambda: turns.append(1)):
        while not turns:
            pass
    with pytest.raises(ZeroDivisionError), device.busy(lambda: 1 / 0):
        pass
