"""The rungs for a GPU that can be had for minutes, climbed on a CPU by a network of a few channels."""

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


def test_a_rung_trains_evaluates_and_brings_back_what_can_be_loaded(climb, monkeypatch):
    monkeypatch.setattr(ladder, "PART", 10_000)
    assert climb("table3", "--only", "frih") == 0
    parts = sorted(Path("back").iterdir())
    assert len(parts) > 1
    assert {part.stat().st_size for part in parts[:-1]} == {10_000}
    names = ["config.yaml", "evaluation/test/rows.csv", "evaluation/test/summary.json", "log.txt", "metrics.jsonl"]
    assert unpack() == [Path("table3/frih", name) for name in (*names, "weights.safetensors")]
    model, config = load_model(Path("home/table3/frih/models/weights.safetensors"))
    assert model.cascade is not None
    assert config.train.precision == "bf16"
    log = Path("outputs/ladder/table3/frih/log.txt").read_text()
    assert climb("table3", "--only", "frih") == 0  # nothing is left to be done
    assert Path("outputs/ladder/table3/frih/log.txt").read_text() == log


def test_time_that_is_up_before_a_run_begins_leaves_it_for_the_next_call(climb, capsys):
    assert climb("recipe", "--minutes", "0.1") == STOPPED  # less than saving and packing are given
    assert "frih: no weights" in capsys.readouterr().out
    assert unpack() == []


def test_weights_without_room_are_named(climb, capsys):
    assert climb("base") == 0
    jobs = list(ladder.plan("base", None, ["data.root=outputs/ladder/data", *KEYS]))
    ladder.bring_back(jobs, Path("back"), most=100)
    assert "base: its weights are left out" in capsys.readouterr().out
    assert Path("base/base/weights.safetensors") not in unpack()


def test_a_run_that_was_begun_with_other_keys_is_not_gone_on_with(climb):
    assert climb("base") == 0
    with pytest.raises(UserError, match=r"train\.epochs 2, not 9"):
        climb("base", "train.epochs=9")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["base", "--minutes", "0"], "--minutes: must be above 0"),
        (["table3", "--only", "frihh"], "table3 has the runs baseline, frih"),
        (["recipe", "train.batsh=3"], "train.batch"),
    ],
)
def test_what_makes_no_sense_is_refused(climb, words, said):
    with pytest.raises(UserError, match=said):
        climb(*words)


def test_photos_are_asked_for_where_there_are_no_composites(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ladder.py", "base", "--back", "back"])
    with pytest.raises(UserError, match="--photos"):
        ladder.main()
