"""The rungs for a GPU that is free for minutes, on a CPU with a network of a few channels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from frih.common.errors import STOPPED, UserError
from frih.models.checkpoint import load_model
from scripts import ladder
from tests.conftest import SMALL, make_dataset

KEYS = [f"{section}.{key}={json.dumps(value)}" for section, keys in SMALL.items() for key, value in keys.items()]


@pytest.fixture
def climb(tmp_path, monkeypatch):
    """Runs the program in a folder of its own, where composites are made already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_dataset(ladder.OUT / "data")
    (ladder.OUT / "data/manifest.json").write_text("{}")

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["ladder.py", words[0], *KEYS, *words[1:], "--back", "back"])
        return ladder.main()

    return run


def unpack() -> list[Path]:
    Path("home").mkdir()
    subprocess.run("cat back/back.tar.* | tar x -C home", shell=True, check=True)
    return sorted(path.relative_to("home") for path in Path("home").rglob("*") if path.is_file())


def test_a_rung_trains_evaluates_and_brings_back_what_can_be_loaded(climb, monkeypatch, capsys):
    monkeypatch.setattr(ladder, "PART", 10_000)
    assert climb("table3", "--only", "frih") == 0
    parts = sorted(Path("back").iterdir())
    assert len(parts) > 1
    assert {part.stat().st_size for part in parts[:-1]} == {10_000}
    names = ["config.yaml", "evaluation/test/rows.csv", "evaluation/test/summary.json", "log.txt", "metrics.jsonl"]
    assert unpack() == [Path("table3/frih", name) for name in (*names, "weights.safetensors")]
    model, config = load_model(Path("home/table3/frih/weights.safetensors"))
    assert model.cascade is not None
    assert config.train.precision == "bf16"

    log = Path("outputs/ladder/table3/frih/log.txt")
    before = log.read_text()
    assert climb("table3", "--only", "frih") == 0
    assert log.read_text() == before  # nothing was left to do
    with pytest.raises(UserError, match=r"train\.epochs 2, not 9"):
        climb("table3", "train.epochs=9", "--only", "frih")

    jobs = list(ladder.plan("table3", ["frih"], ["data.root=outputs/ladder/data", *KEYS]))
    Path("small").mkdir()
    ladder.bring_back(jobs, Path("small"), most=100)
    assert "frih: its weights are left out" in capsys.readouterr().out
    listed = subprocess.run("cat small/back.tar.* | tar t", shell=True, check=True, capture_output=True, text=True)
    assert sorted(listed.stdout.split()) == [f"table3/frih/{name}" for name in names]


def test_a_run_for_which_there_is_no_time_is_left_for_the_next_call(climb, capsys):
    assert climb("recipe", "--minutes", "0.1") == STOPPED  # less than saving and packing take
    assert "frih: no weights" in capsys.readouterr().out
    assert unpack() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["base", "--minutes", "0"], "--minutes: must be above 0"),
        (["table3", "--only", "frihh"], "table3 has the runs baseline, frih"),
        (["recipe", "train.batsh=3"], "train.batch"),
    ],
)
def test_command_lines_that_make_no_sense(climb, words, said):
    with pytest.raises(UserError, match=said):
        climb(*words)


def test_photos_are_asked_for_where_there_are_no_composites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ladder.py", "base", "--back", "back"])
    with pytest.raises(UserError, match="--photos"):
        ladder.main()
