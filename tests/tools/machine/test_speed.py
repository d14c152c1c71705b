"""Speeds and limits, plain and compiled: timings, batches that do not fit, bytes and multiply-adds counted by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from frih.tools.experiments.complexity import made_image, multiply_adds
from frih.tools.machine import compiled, fast
from frih.tools.machine.fast import drain, parts, speeds, too_much
from frih.tools.machine.limit import count, fastest, held, limits
from frih.tools.machine.record import Record
from frih.tools.machine.right import reference
from frih.tools.machine.setting import trained_like
from frih.training.trainer import Trainer


def test_every_batch_is_timed_and_compared_with_what_is_allowed(setting, record):
    for mode in fast.MODES:
        for row in speeds(setting, record, "FRIH", mode, "fp32"):
            record.add("fast", row)
    rows = record.rows("fast")
    assert [(row["mode"], row["batch"]) for row in rows] == [(mode, n) for mode in fast.MODES for n in (1, 2)]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        assert 0 < row["submasks"] <= 2
        assert 0 < row["foreground"] < 1
    assert len(fastest(record)) == 2
    assert [row["status"] for row in limits(setting, record)] == ["skipped"]
    record.add("rates", {"name": "bandwidth", "status": "measured", "bytes_per_second": 1e9})
    record.add("rates", {"name": "matrix rate, fp32", "status": "measured", "multiply_adds_per_second": 1e9})
    for row in limits(setting, record):
        assert row["seconds_by_bandwidth"] == row["bytes"] / 1e9
        slower = max(row["seconds_by_bandwidth"], row["seconds_by_matrix_rate"])
        assert slower <= row["seconds_allowed"] <= row["seconds_by_bandwidth"] + row["seconds_by_matrix_rate"]
        assert row["ratio"] == row["seconds"] / row["seconds_allowed"]


def test_a_batch_that_does_not_fit_is_skipped_with_all_larger_ones(make_setting, record, monkeypatch):
    original = Trainer.train_step

    def small_memory(self, batch):
        if len(batch.items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, batch)

    monkeypatch.setattr(Trainer, "train_step", small_memory)
    rows = list(speeds(make_setting(batches=(1, 2, 4, 8)), record, "FRIH", "training", "fp32"))
    assert [row["status"] for row in rows] == ["measured", "measured", "skipped", "skipped"]
    assert [row.get("why") for row in rows[2:]] == ["does not fit the memory", "batch 4 was skipped already"]


def test_other_errors_are_not_taken_for_a_lack_of_memory(setting, record, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Trainer, "train_step", broken)
    with pytest.raises(RuntimeError, match="illegal"):
        list(speeds(setting, record, "FRIH", "training", "fp32"))


def test_a_batch_that_would_take_too_long_or_too_much_is_not_tried(setting, record, monkeypatch):
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


def test_the_parts_of_a_step(setting):
    (row,) = parts(setting, "FRIH")
    names = {"forward, base", "forward, cascade and head", "loss", "backward", "optimizer", "the rest"}
    assert names == set(row["seconds"])
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert row["clustering_seconds"] > 0


A, B = torch.ones(10, 100), torch.ones(10, 100)


@pytest.mark.parametrize(
    ("work", "moved"),
    [
        (lambda: A + B, 3 * 4000),
        (lambda: A.add_(B), 3 * 4000),
        (lambda: A.t().reshape(100, 10).unsqueeze(0), 0),
        (lambda: torch._foreach_add_([A], [B]), 3 * 4000),
        (lambda: torch.empty(1000), 0),
    ],
)
def test_bytes_by_hand(work, moved):
    assert count(work).bytes == moved


def test_products_by_hand_and_the_slower_of_two_times():
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    counter = count(lambda: (a @ b) + 1, bytes_per_second=1000.0, multiply_adds_per_second=1000.0)
    assert counter.multiply_adds == 6000
    assert counter.bytes == 4 * (200 + 600 + 300) + 4 * (300 + 300)
    assert counter.seconds == pytest.approx(6.0 + 2.4)  # the product takes longer to multiply, the sum to move
    assert held(torch.ones(10, 1).expand(10, 100)) == 40
    assert held(torch.ones(0, 3)) == 0


def test_a_networks_multiply_adds_are_those_that_pytorch_and_the_cost_table_count(setting):
    network = trained_like(setting.recipe()).eval()
    inputs = made_image(128, 0.2, 2)
    with torch.no_grad():
        counter = count(lambda: network(*inputs))
    assert counter.multiply_adds == multiply_adds(network, inputs)["all"]
    network.train()
    with FlopCounterMode(display=False) as known:
        network(*inputs)[1].sum().backward()
    assert count(lambda: network(*inputs)[1].sum().backward()).multiply_adds == known.get_total_flops() / 2


def test_compiled_networks_are_timed_and_judged(setting, monkeypatch):
    """Compiling takes minutes, so here it leaves the network as it is."""
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    rows = list(compiled.rows(setting, "FRIH", "fp32", 2))
    assert [row["status"] for row in rows] == ["measured", "right", "measured"]
    assert [row.get("mode") for row in rows] == ["training", None, "inference"]
    assert rows[1]["section"] == "right"
    batch, exact = reference(setting, "FRIH")
    setting.references["FRIH"] = batch, exact._replace(gradient=exact.gradient * 1.01)
    assert [row["status"] for row in compiled.rows(setting, "FRIH", "fp32", 2)] == ["measured", "wrong", "measured"]


def test_compiling_has_an_end(setting, tmp_path):
    (row,) = compiled.in_process(setting, "base network", "fp32", 1, 0.0)
    assert row["status"] == "skipped"
    assert "of compiling" in row["why"]
    late = Record(tmp_path / "late.json", {}, 0.1, setting.device)
    (row,) = compiled.check(setting, late, "base network", 1)
    assert row["status"] == "skipped"
