import torch

from frih.common.distributed import World, connect


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
