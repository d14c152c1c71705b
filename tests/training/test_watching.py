import pytest
import torch
from torch import nn

from frih.common.distributed import World
from frih.models import build_model
from frih.models.output import Output
from frih.training.gate import Gate
from frih.training.meter import Meter
from frih.training.nonfinite import first_nonfinite
from tests.conftest import random_batch


def test_means_and_histogram_over_the_steps():
    meter = Meter(("loss", "norm"), 3, World())
    meter.add([torch.tensor(1.0), torch.tensor(4.0)], torch.tensor([0, 3]))
    meter.add([torch.tensor(2.0), torch.tensor(6.0)], torch.tensor([3, 1]))
    figures = meter.read()
    assert figures["train/loss"] == 1.5
    assert figures["train/norm"] == 5
    assert figures["train/submasks"] == 7 / 4
    assert figures["train/submask_histogram"] == [1, 1, 0, 2]
    assert figures["time/imbalance"] == 0
    assert figures["time/images_per_second"] > 0
    meter.add([torch.tensor(8.0), torch.tensor(8.0)], torch.tensor([1]))
    assert meter.read()["train/loss"] == 8


def test_a_meter_goes_on_where_it_stopped():
    meter, other = (Meter(("loss",), 2, World()) for _ in range(2))
    meter.add([torch.tensor(0.1)], torch.tensor([1]))
    other.load_state_dict(meter.state_dict())
    for one in (meter, other):
        one.add([torch.tensor(0.2)], torch.tensor([2]))
    mine, theirs = (
        {name: value for name, value in one.read().items() if "time/" not in name} for one in (meter, other)
    )
    assert mine == theirs


def test_sums_of_more_processes_are_shared_out():
    meter = Meter(("loss",), 1, World())
    meter.load_state_dict({"names": ["loss"], "sums": torch.tensor([[2.0, 1.0, 3.0, 1.0], [2.0, 3.0, 2.0, 2.0]])})
    figures = meter.read()
    assert (figures["train/loss"], figures["train/submask_histogram"]) == (4 / 4, [5, 3])


def test_waiting_and_pauses_are_no_training(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 10.0, 50.0, 50.0, 50.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = Meter((), 1, World())  # at 0
    assert next(meter.waiting(["batch"])) == "batch"  # from 1 to 3
    with meter.paused():  # from 10 to 50
        pass
    meter.add([], torch.tensor([1, 1, 0, 1, 1]))
    figures = meter.read()  # at 50
    assert (figures["time/data_wait"], figures["time/images_per_second"]) == (2 / 10, 5 / 10)


def test_the_gates_mean_is_over_the_foreground_image_by_image():
    output = Output(1, "blend")
    output.gate = torch.tensor([[0.5, 0.9], [0.2, 0.4], [0.1, 0.3]]).view(3, 1, 1, 2)
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).view(3, 1, 1, 2)  # the last image has no foreground
    assert Gate(output).names == ("gate",)
    assert [mean.item() for mean in Gate(output).mean(mask)] == [pytest.approx((0.5 + 0.3 + 0.2) / 3)]


def test_a_network_that_predicts_a_change_has_no_gate():
    gate = Gate(Output(1, "add"))
    assert gate.names == ()
    assert gate.mean(torch.ones(1, 1, 2, 2)) == []
    assert gate.warning({"train/loss": 1.0}, 10) is None


def test_a_closed_gate_is_told_once_with_its_remedy():
    gate = Gate(Output(1, "blend"))
    closed = {"train/gate": 0.85, "train/loss_coarse": 0.0634, "train/loss_unchanged": 0.0635}
    assert gate.warning({**closed, "train/gate": 0.7}, 10) is None
    assert gate.warning({**closed, "train/loss_coarse": 0.05}, 10) is None  # it is mostly closed, and learns
    assert "step 20: the blending layer's gate has closed (mean 0.850" in gate.warning(closed, 20)
    assert gate.warning(closed, 30) is None


def test_where_values_stop_being_finite(small_config):
    model = build_model(small_config())
    batch = random_batch()
    before = [buffer.clone() for buffer in model.buffers()]
    assert first_nonfinite(model, batch) is None
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))

    class Broken(nn.Module):
        def forward(self, x):
            return x * torch.inf

    model.cascade.encoder[2].append(Broken())
    name = f"cascade.encoder.2.{len(model.cascade.encoder[2]) - 1}"
    assert first_nonfinite(model, batch) == f"the output of {name}"
    batch.composite[:] = torch.nan
    assert first_nonfinite(model, batch).startswith("the output of base.")
    with torch.no_grad():
        model.head.conv1.weight[0] = torch.nan
    assert first_nonfinite(model, batch) == "the weights head.conv1.weight"


def test_the_head_is_named_though_it_works_in_tiles(small_config):
    model = build_model(small_config())
    with torch.no_grad():
        model.head.conv2.bias.fill_(3e38)
        model.head.output.to_rgb.weight.fill_(3e38)
    assert first_nonfinite(model, random_batch()) == "the output of head.output.to_rgb"


def test_imbalance_is_of_the_fullest_process():
    class Two(World):
        """The other process has two pairs in the first step and none in the others."""

        def gather(self, value):
            return [value, torch.tensor([2.0, 0.0, 0.0])]

    meter = Meter((), 2, Two())
    for submasks in ([2, 0], [2, 2], [0, 0]):  # a step without any pair does not count
        meter.add([], torch.tensor(submasks))
    assert meter.read()["time/imbalance"] == pytest.approx(0.5)
    alone = Meter((), 2, World())
    alone.add([], torch.tensor([0]))
    assert alone.read()["time/imbalance"] == 0
