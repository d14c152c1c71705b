"""Devices by name. There is no such hardware here: only what PyTorch says of it is feigned."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from frih.common.devices import choose_device, device_name, is_pinnable, peak_memory, wait
from frih.common.distributed import connect
from frih.common.errors import UserError
from frih.data.batches import network_input
from frih.losses import harmonization_loss
from frih.models import build_model
from tests.conftest import random_batch


@pytest.fixture
def machine(monkeypatch):
    """Feigns a machine that has so many GPUs of each kind."""

    def make(cuda: int = 0, xpu: int = 0, mps: int = 0) -> None:
        for module, count in ((torch.cuda, cuda), (torch.xpu, xpu)):
            monkeypatch.setattr(module, "is_available", lambda count=count: count > 0)
            monkeypatch.setattr(module, "device_count", lambda count=count: count)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps > 0)

    return make


@pytest.mark.parametrize(
    ("there", "name", "process", "processes", "expected"),
    [
        ({}, "auto", 0, 1, "cpu"),
        ({"cuda": 2, "xpu": 1, "mps": 1}, "auto", 0, 1, "cuda:0"),
        ({"xpu": 1, "mps": 1}, "auto", 0, 1, "xpu:0"),
        ({"mps": 1}, "auto", 0, 1, "mps"),
        ({"mps": 1}, "auto", 1, 2, "cpu"),  # only one process can use it
        ({"cuda": 2}, "auto", 1, 2, "cuda:1"),
        ({"cuda": 2}, "cuda:1", 0, 1, "cuda:1"),
        ({"xpu": 3}, "xpu", 2, 3, "xpu:2"),
        ({"mps": 1}, "mps:0", 0, 1, "mps"),
        ({"cuda": 2}, "cpu", 1, 2, "cpu"),
        ({"cuda": 1}, torch.device("cpu"), 0, 1, "cpu"),
    ],
)
def test_the_device_of_a_name(machine, there, name, process, processes, expected):
    machine(**there)
    assert choose_device(name, process=process, processes=processes) == torch.device(expected)


@pytest.mark.parametrize(
    ("there", "name", "processes", "message"),
    [
        ({}, "cuda", 1, "key: cuda was asked for, but PyTorch sees no GPU"),
        ({"cuda": 1}, "mps", 1, "key: mps was asked for, but PyTorch sees no GPU of that kind"),
        ({"cuda": 1}, "xpu:0", 1, "key: xpu:0 was asked for"),
        ({"cuda": 2}, "cuda:2", 1, "key: there is no cuda:2; PyTorch sees 2"),
        ({"mps": 1}, "mps", 2, "key: only one process can use mps"),
        ({"cuda": 2}, "cuda:1", 2, "key: cuda:1 is one GPU, and this machine has 2 processes; take cuda"),
        ({"cuda": 2}, "auto", 3, "torchrun: 3 processes of this machine have 2 GPUs; start at most 2"),
        ({}, "gpu", 1, "key: there is no device 'gpu'; take auto, cpu or cuda, xpu, mps"),
        ({}, "meta", 1, "key: there is no device 'meta'"),
        ({}, "", 1, "key: there is no device ''"),
    ],
)
def test_devices_that_are_not_there(machine, there, name, processes, message):
    machine(**there)
    with pytest.raises(UserError) as error:
        choose_device(name, "key", processes=processes)
    assert str(error.value).startswith(message)


def test_a_tool_that_knows_cuda_alone_takes_no_other(machine):
    machine(xpu=1, mps=1)
    assert choose_device("auto", kinds=("cuda",)) == torch.device("cpu")
    with pytest.raises(UserError, match="no device 'mps'; take auto, cpu or cuda"):
        choose_device("mps", kinds=("cuda",))


def test_several_processes_need_what_connects_them(machine, monkeypatch):
    machine(xpu=2)
    monkeypatch.setenv("WORLD_SIZE", "16")  # on eight machines: a launcher need not say how many are on each
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: name != "xccl")
    with pytest.raises(UserError, match=r"train\.device: this PyTorch has no xccl, which xpu needs"), connect("xpu"):
        pass


def test_what_waits_for_a_gpu_and_asks_for_its_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.accelerator, "synchronize", asked.append)
    monkeypatch.setattr(torch.xpu, "max_memory_allocated", lambda device: 7)
    for name in ("cpu", "mps", "xpu:1"):
        wait(torch.device(name))
    assert asked == [torch.device("mps"), torch.device("xpu:1")]
    assert [peak_memory(torch.device(name)) for name in ("cpu", "mps", "xpu:1")] == [None, None, 7]


def test_only_copies_to_cuda_do_not_wait(monkeypatch):
    """On Apple's GPUs such copies give wrong values (PyTorch's issue 139550)."""
    assert [is_pinnable(torch.device(name)) for name in ("cpu", "cuda:1", "xpu", "mps")] == [False, True, False, False]
    original, asked = torch.Tensor.to, []

    def to(tensor, device, *, non_blocking=False, **options):
        asked.append(non_blocking)
        return original(tensor, "cpu", **options)

    monkeypatch.setattr(torch.Tensor, "to", to)
    for kind in ("mps", "cuda"):
        network_input(
            torch.zeros(1, 2, 2, 3, dtype=torch.uint8), torch.zeros(1, 2, 2, dtype=torch.uint8), torch.device(kind)
        )
    assert asked == [False, False, True, True]


class NoDoubles(TorchDispatchMode):
    """Refuses what Apple's GPUs do not have: float64."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        assert not any(isinstance(one, torch.Tensor) and one.dtype == torch.float64 for one in tree_leaves(found)), (
            function
        )
        return found


def test_a_step_makes_no_float64(small_config):
    config, batch = small_config(), random_batch()
    network = build_model(config).train()
    optimizer = torch.optim.Adam(network.parameters())
    network(batch.composite, batch.mask, batch.labels)  # makes, on the CPU, what is kept
    with NoDoubles():
        out = network(batch.composite, batch.mask, batch.labels)
        losses = harmonization_loss(
            out, batch.real, batch.mask, batch.labels, min_area=100, equal="submasks", refine=True
        )
        losses.total.mean().backward()
        optimizer.step()


def test_what_a_device_is_called(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    names = [device_name(torch.device(name)) for name in ("cpu", "cuda:1", "mps")]
    assert names == ["CPU", "GPU 1", "Apple's GPU"]
