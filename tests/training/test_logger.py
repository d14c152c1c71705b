import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frih.common.errors import UserError
from frih.training.board import Board
from frih.training.logger import RunLogger


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_both_sinks_get_every_figure(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log({"train/loss": 2.0, "train/lr": 0.1}, 1)
    logger.log({"train/loss": 1.5}, 2)
    logger.image("a", np.zeros((4, 4, 3), np.uint8), 2)
    assert lines(tmp_path) == [{"step": 1, "train/loss": 2.0, "train/lr": 0.1}, {"step": 2, "train/loss": 1.5}]
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(1, 2.0), (2, 1.5)]
    assert board.Tags()["images"] == ["a"]


def test_a_resumed_run_forgets_what_it_will_log_again(tmp_path, capsys):
    logger = RunLogger(tmp_path)
    for step in (1, 2, 3):
        logger.log({"x": step}, step)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "x"')  # killed while writing
    logger = RunLogger(tmp_path, start=2)
    logger.log({"x": 30}, 3)
    assert lines(tmp_path) == [{"step": 1, "x": 1}, {"step": 2, "x": 2}, {"step": 3, "x": 30}]
    assert "metrics.jsonl: line 4 is unfinished, as after a kill; left out" in capsys.readouterr().out


DAMAGED = [
    b'{"step": 2, "x"',
    b"\0" * 5000,
    b"\xff",
    b"[]",
    b"7",
    b'{"x": 2}',
    b'{"step": -1}',
    b'{"step": 2, "x": "two"}',
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_of_the_log_is_named_or_left_out_where_it_is_made_again(tmp_path, capsys, damage):
    log = tmp_path / "metrics.jsonl"
    first, third = (json.dumps({"step": step, "x": step}).encode() for step in (1, 3))
    log.write_bytes(b"\n".join([first, damage, third, b""]))
    before = log.read_bytes()
    with pytest.raises(UserError, match=f"{log}: line 2 is damaged; remove that line"):
        RunLogger(tmp_path, start=3)
    assert log.read_bytes() == before
    RunLogger(tmp_path, start=1)
    assert lines(tmp_path) == [{"step": 1, "x": 1}]
    assert "metrics.jsonl: line 2 is damaged; left out" in capsys.readouterr().out


def test_values_that_are_not_finite_are_null_in_json(tmp_path):
    logger = RunLogger(tmp_path)
    logger.log({"x": float("inf")}, 1)
    assert lines(tmp_path) == [{"step": 1, "x": None}]


def test_events_go_on_after_the_clock_was_set_back(tmp_path):
    (tmp_path / "events.out.tfevents.9000000000.host.1.2").touch()
    assert Board(tmp_path, start=1).path.name.startswith("events.out.tfevents.9000000001.")


def test_a_full_disk_is_named(tmp_path):
    board = Board(tmp_path)
    board.path.unlink()
    board.path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        board.figures({"x": 1.0}, 1)
    assert caught.value.filename == str(board.path)


def test_a_full_disk_under_the_log_is_named(tmp_path):
    logger = RunLogger(tmp_path)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        logger.log({"x": 1.0}, 1)
    assert caught.value.filename == str(tmp_path / "metrics.jsonl")
