import pytest
import torch

from frih.common.distributed import World, choose_device, connect
from frih.common.errors import UserError


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
