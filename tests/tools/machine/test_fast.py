"""Timings, and what does not fit."""

import pytest
import torch

from frih.tools.machine import fast
from frih.tools.machine.fast import drain, parts, speeds, too_much
from frih.training.trainer import Trainer


def test_every_batch_is_timed(setting, record):
    rows = [row for mode in fast.MODES for row in speeds(setting, record, "FRIH", mode, "fp32")]
    assert [(row["mode"], row["batch"]) for row in rows] == [(mode, n) for mode in fast.MODES for n in (1, 2)]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert 0 < row["submasks"] <= 2
        assert 0 < row["foreground"] < 1


def test_a_batch_that_does_not_fit_is_skipped_with_all_larger_ones(make_setting, record, monkeypatch):
    original = Trainer.train_step

    def small_memory(self, batch):
        if len(batch.name) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, batch)

    monkeypatch.setattr(Trainer, "train_step", small_memory)
    rows = list(speeds(make_setting(batches=[1, 2, 4, 8]), record, "FRIH", "training", "fp32"))
    assert [row["status"] for row in rows] == ["measured", "measured", "skipped", "skipped"]
    assert [row.get("why") for row in rows[2:]] == ["does not fit the memory", "batch 4 was skipped already"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(setting, record, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Trainer, "train_step", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        list(speeds(setting, record, "FRIH", "training", "fp32"))


def test_what_would_take_too_long_or_too_much_is_not_tried(setting, record, monkeypatch):
    before = {"batch": 2, "seconds": 1.0, "peak_bytes": 2**30}
    monkeypatch.setattr(setting.device, "room", lambda: 2**31)
    assert too_much(setting, record, None, 128) is None
    assert too_much(setting, record, before, 4) is None
    assert "GiB of memory" in too_much(setting, record, before, 16)
    record.minutes = 1 / 60
    assert "the time is short" in too_much(setting, record, before, 4)


def test_draining_counts_what_comes_after_the_first(monkeypatch):
    """A batch of 4 images takes 2 seconds to come and 1 to be used."""
    clock = [0.0]
    monkeypatch.setattr(fast.time, "perf_counter", lambda: clock[0])

    def batches():
        while True:
            clock[0] += 2.0
            yield type("Packed", (), {"items": range(4)})

    def use(packed):
        clock[0] += 1.0

    assert drain(batches(), 2, 9.0, use) == (pytest.approx(4 / 3), pytest.approx(2 / 3))


def test_parts_add_up_to_a_step(setting):
    (row,) = parts(setting, "FRIH")
    assert {"forward, base", "forward, cascade and head", "loss", "backward", "optimizer", "the rest"} == set(
        row["seconds"]
    )
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert row["clustering_seconds"] > 0
