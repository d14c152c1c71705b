"""Training on the device: right, and wrong on purpose."""

import pytest
import torch

from frih.tools.machine import steps
from frih.tools.machine.steps import deterministic, difference, loading, repeated, resuming, two_steps


def test_two_steps_are_right(make_setting):
    rows = list(two_steps(make_setting(precisions=("fp32", "bf16", "tf32"))))
    assert [row["status"] for row in rows] == ["right", "right", "skipped"]
    assert len(rows[0]["losses"]) == 2
    assert 0 < rows[0]["errors"]["momentum"] < rows[1]["errors"]["momentum"]


def test_a_step_that_differs_is_found(setting, monkeypatch):
    original = steps.small

    def other(setting, *precision, **train):
        """The device's optimizer forgets its mean faster than the CPU's."""
        return original(setting, *precision, **({} if "channels_last" in train else {"betas": (0.89, 0.999)}), **train)

    monkeypatch.setattr(steps, "small", other)
    (row,) = two_steps(setting)
    assert row["status"] == "wrong"


def test_resuming_is_to_the_bit(setting):
    (row,) = resuming(setting)
    assert row["status"] == "right"
    assert row["differences"] == {"again": 0.0, "resumed": 0.0}


def test_a_resumed_run_that_differs_in_one_bit_is_found(setting, monkeypatch):
    original = steps.resume_run

    def nudged(*arguments):
        trainer = original(*arguments)
        with torch.no_grad():
            weight = trainer.network.head.conv2.weight
            weight[0, 0, 0, 0] = torch.nextafter(weight[0, 0, 0, 0], torch.tensor(9.0))
        return trainer

    monkeypatch.setattr(steps, "resume_run", nudged)
    (row,) = resuming(setting)
    assert row["status"] == "wrong"
    assert row["differences"]["again"] == 0.0 < row["differences"]["resumed"]


def test_sums_in_no_order_are_told_and_not_called_wrong(setting, monkeypatch):
    monkeypatch.setattr(steps, "repeated", lambda *_: ({"index_add"}, {"again": 1e-6, "resumed": 2e-6}))
    (row,) = resuming(setting)
    assert row["status"] == "told"
    assert list(row["unordered"]) == ["index_add"]


def test_the_operators_whose_order_is_open_are_named(setting):
    """The fast head cuts tiles out, whose gradient is a sum by index; no operator of the dense head is used."""
    names, _ = repeated(setting, "fp32", "named")
    assert {"index_add", "scatter_add", "convolution_backward"} <= names
    assert "upsample_bilinear2d_backward" not in names


def test_deterministic_algorithms_are_for_a_while():
    with deterministic() as warned:
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert warned == []


def test_another_number_of_steps_differs(setting):
    config = steps.small(setting)
    one, other = setting.trainer(config, "one"), setting.trainer(config, "other")
    assert difference(one, other) == 0.0
    steps.advance(other, 1)
    assert difference(one, other) == float("inf")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_loader_beside_a_busy_device(setting, monkeypatch, wrong):
    monkeypatch.setattr(steps, "cores", lambda: 1)
    original = steps.read

    def read(setting, workers, *rest):
        found = original(setting, workers, *rest)
        if wrong and workers:
            found[2].composite[0, 0, 0, 0] ^= 1
        return found

    monkeypatch.setattr(steps, "read", read)
    (row,) = loading(setting)
    assert (row["status"], row["wrong"]) == (("wrong", 1) if wrong else ("right", 0))
    assert row["steps_beside"] > 0
