import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from frih.common.distributed import World, choose_device, connect
from frih.common.errors import UserError
from frih.losses import harmonization_loss
from frih.models import build_model
from tests.conftest import random_batch

PAIRS = ((2, 1), (0, 0))
"""Submasks of each process's two images."""


def test_a_world_of_one():
    with connect("cpu") as world:
        assert world == World()
        assert world.is_main
        model = torch.nn.Linear(1, 1)
        assert world.wrap(model) is model
        assert world.mean(torch.tensor([1.0, 3.0])).tolist() == [1, 3]
        assert world.gather("x") == ["x"]
        assert world.any(True, False) == [True, False]
        world.barrier()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_where_there_is_none():
    with pytest.raises(UserError, match="sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == torch.device("cpu")


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", 1) == torch.device("cuda", 1)
    assert choose_device("cpu", 1) == torch.device("cpu")
    with pytest.raises(UserError, match="start at most 2"):
        choose_device("auto", 2)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_process_without_submasks_neither_hangs_nor_loses_gradients(small_config, norm):
    """Two processes, of which the second has no pair, do what one does with the images of both."""
    config = small_config(model={"norm": norm})
    context = mp.get_context("spawn")
    results = context.Queue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [context.Process(target=_step, args=(rank, port, config, results)) for rank in range(2)]
    for process in processes:
        process.start()
    gradients, buffers = results.get(timeout=120)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    model = build_model(config).double()
    batches = [random_batch(ks=ks, seed=rank, dtype=torch.float64) for rank, ks in enumerate(PAIRS)]
    composite, real, mask, labels = (
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("composite", "real", "mask", "labels")
    )
    for _ in range(2):
        model.zero_grad()
        out = model(composite, mask, labels)
        harmonization_loss(out, real, mask, labels).total.mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(torch.from_numpy(gradients[name]), parameter.grad, rtol=1e-8, atol=1e-10)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(torch.from_numpy(buffers[name]), buffer, rtol=1e-8, atol=1e-10)


def _step(rank: int, port: int, config, results) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    model = World(rank, 2).wrap(build_model(config).double())
    batch = random_batch(ks=PAIRS[rank], seed=rank, dtype=torch.float64)
    for _ in range(2):
        model.zero_grad()
        out = model(batch.composite, batch.mask, batch.labels)
        harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean().backward()
    if rank == 0:
        gradients = {name: p.grad.numpy() for name, p in model.module.named_parameters()}
        results.put((gradients, {name: b.numpy() for name, b in model.module.named_buffers()}))
    dist.barrier()
    dist.destroy_process_group()
