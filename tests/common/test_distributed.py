import numpy as np
import pytest
import torch

from frih.common.distributed import World, choose_device, connect
from frih.common.errors import UserError
from frih.losses import harmonization_loss
from frih.models import build_model
from tests.conftest import in_processes, random_batch

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
    two, one = (in_processes(size, gradients_and_buffers, config) for size in (2, 1))
    assert two.keys() == one.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-8, atol=1e-10, err_msg=name)


def gradients_and_buffers(world: World, config) -> dict[str, np.ndarray]:
    """After two steps on this process's images: two of the four."""
    network = build_model(config).double()
    model = world.wrap(network)
    own = PAIRS if world.size == 1 else PAIRS[world.rank : world.rank + 1]
    batches = [random_batch(ks=ks, seed=PAIRS.index(ks), dtype=torch.float64) for ks in own]
    composite, real, mask, labels = (
        torch.cat([getattr(batch, name) for batch in batches]) for name in ("composite", "real", "mask", "labels")
    )
    for _ in range(2):
        model.zero_grad()
        harmonization_loss(model(composite, mask, labels), real, mask, labels).total.mean().backward()
    gradients = {f"gradient of {name}": parameter.grad.numpy() for name, parameter in network.named_parameters()}
    return gradients | {name: buffer.numpy() for name, buffer in network.named_buffers()}
