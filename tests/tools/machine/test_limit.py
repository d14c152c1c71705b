"""Bytes and multiply-adds against what one counts by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from frih.tools.experiments.complexity import made_image, multiply_adds
from frih.tools.machine.fast import speeds
from frih.tools.machine.limit import count, fastest, held, limits
from frih.tools.machine.setting import trained_like


def test_bytes_by_hand():
    a, b = torch.ones(10, 100), torch.ones(10, 100)
    assert count(lambda: a + b).bytes == 3 * 4000
    assert count(lambda: a.add_(b)).bytes == 3 * 4000
    assert count(lambda: a.t().reshape(100, 10).unsqueeze(0)).bytes == 0
    assert count(lambda: torch._foreach_add_([a], [b])).bytes == 3 * 4000
    assert count(lambda: torch.empty(1000)).bytes == 0
    assert held(torch.ones(10, 1).expand(10, 100)) == 40
    assert held(torch.ones(0, 3)) == 0


def test_products_by_hand_and_the_slower_of_two_times():
    a, b = torch.ones(10, 20), torch.ones(20, 30)
    counter = count(lambda: (a @ b) + 1, bytes_per_second=1000.0, multiply_adds_per_second=1000.0)
    assert counter.multiply_adds == 6000
    assert counter.bytes == 4 * (200 + 600 + 300) + 4 * (300 + 300)
    assert counter.seconds == pytest.approx(6.0 + 2.4)  # the product takes longer to multiply, the sum to move


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


def test_measured_over_allowed(setting, record):
    for mode in ("training", "inference"):
        for row in speeds(setting, record, "FRIH", mode, "fp32"):
            record.add("fast", row)
    assert len(fastest(record)) == 2
    assert [row["status"] for row in limits(setting, record)] == ["skipped"]
    record.add("rates", {"name": "bandwidth", "status": "measured", "bytes_per_second": 1e9})
    record.add("rates", {"name": "matrix rate, fp32", "status": "measured", "multiply_adds_per_second": 1e9})
    for row in limits(setting, record):
        assert row["seconds_by_bandwidth"] == row["bytes"] / 1e9
        slower = max(row["seconds_by_bandwidth"], row["seconds_by_matrix_rate"])
        assert slower <= row["seconds_allowed"] <= row["seconds_by_bandwidth"] + row["seconds_by_matrix_rate"]
        assert row["ratio"] == row["seconds"] / row["seconds_allowed"]
