"""The whole program, small."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from frih.tools.machine import check, compiled, fast, steps, tables, together
from frih.tools.machine.check import Options, check_machine
from frih.tools.machine.device import facts
from frih.tools.machine.record import Record

ROOT = Path(__file__).parents[3]


@pytest.fixture
def script(monkeypatch, capsys):
    """Runs the program in this process; its exit status and what it says."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["check_machine.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts/check_machine.py"), run_name="__main__")
        said = capsys.readouterr()
        return caught.value.code, said.out + said.err

    monkeypatch.chdir(ROOT)
    return run


def test_everything_small(small_config, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(together, "tasks", lambda setting: [])  # tried in test_right.py
    monkeypatch.setattr(steps, "cores", lambda: 1)
    monkeypatch.setattr(fast, "cores", lambda: 1)
    config = small_config(data={"root": str(dataset)})
    (tmp_path / "work").mkdir()
    said = []
    options = Options(quick=True, precisions=("fp32",), batches=(1, 2))
    path = tmp_path / "machine.json"
    record = check_machine(torch.device("cpu"), config, options, path, tmp_path / "work", said.append)
    assert not record.faults, record.faults
    written = json.loads(path.read_text())
    for section in ("right", "fast", "parts", "loader", "rates", "limit"):
        assert written[section], section
        assert all(row["status"] in ("right", "measured") for row in written[section])
    assert written["machine"]["torch"] == torch.__version__
    assert written["follows"]["options"][0] == "train.batch=4"
    text = "\n".join(said)
    for words in (
        "FRIH, fp32, channels last",
        "Images a second",
        "parts of a step",
        "loader beside",
        "bandwidth",
        "hours",
    ):
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there(script, tmp_path):
    status, said = script("--device", "cuda", "--out", tmp_path)
    assert status == 2
    assert "sees no GPU" in said


def test_command_lines_that_make_no_sense(script, tmp_path):
    assert "--batches: must be 1 or more" in script("--batches", 0)[1]
    assert "--minutes: must be above 0" in script("--minutes", 0)[1]
    assert script("--size", 100, "--out", tmp_path)[0] == 2
    assert "did you mean 'data.root'" in script("data.rot=x", "--out", tmp_path)[1]


def test_compiled_networks_are_timed_and_judged(setting, record, monkeypatch):
    """Compiling itself takes minutes, so here it leaves the network as it is."""
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    batch, reference = compiled.Exactness(setting, "FRIH").reference()
    rows = list(compiled.rows(setting, "FRIH", "fp32", 2, batch, reference, ["right", "fast"]))
    assert [row["status"] for row in rows] == ["measured", "right", "measured"]
    assert [row.get("mode") for row in rows] == ["training", None, "inference"]
    assert rows[1]["section"] == "right"
    wrong = reference._replace(gradient=reference.gradient * 1.01)
    (row,) = compiled.rows(setting, "FRIH", "fp32", 2, batch, wrong, ["right"])
    assert row["status"] == "wrong"


def test_compiling_has_an_end(setting, tmp_path, record):
    batch, reference = compiled.Exactness(setting, "base network").reference()
    arguments = (setting, "base network", "fp32", 1, batch, reference, ["fast"])
    (row,) = compiled.in_process(arguments, 0.0, "compiled")
    assert row["status"] == "skipped"
    assert "of compiling" in row["why"]
    late = Record(tmp_path / "late.json", {}, 0.1, setting.device)
    (row,) = compiled.check(setting, late, "base network", 1, ["fast"])
    assert row["status"] == "skipped"


def test_what_suits_a_gpu_and_what_a_cpu():
    assert Options().completed(True).precisions == ("fp32", "tf32", "bf16", "fp16")
    assert Options().completed(True).batches == (1, 16, 32, 64, 128)
    assert (Options().completed(True).minutes, Options(quick=True).completed(True).minutes) == (3.0, 1.0)
    assert (Options().completed(True).compile, Options(quick=True).completed(True).compile) == (True, False)
    assert not Options().completed(False).compile
    assert Options(batches=(7,), compile=True, minutes=2.0).completed(False).batches == (7,)


def test_a_gpus_plan_has_the_dense_form_and_compiling_last(make_setting, record, monkeypatch):
    """As far as that goes without one: the tasks, not what they do."""
    setting = make_setting(precisions=["fp32", "tf32", "bf16", "fp16"], quick=False)
    monkeypatch.setattr(setting.device, "is_gpu", True)
    groups = dict(check.plan(setting, record, Options().completed(True)))
    assert list(groups) == ["right", "fast", "limit", "compiled"]
    names = [task.name for task in groups["fast"]]
    assert names[:4] == [f"FRIH, training, {one}" for one in ("fp32", "tf32", "bf16", "fp16")]
    assert "FRIH, dense, training, bf16" in names
    assert "FRIH, dense" in [task.name for task in groups["right"]]
    assert [task.name for task in groups["compiled"]] == ["base network, compiled", "FRIH, compiled"]


def test_what_a_gpu_calls_itself(monkeypatch):
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
