import shutil
from pathlib import Path

import numpy as np
import torch

from frih.common.distributed import World
from frih.data.iharmony4 import Item
from frih.data.loader import GlobalBatchSampler
from frih.models.checkpoint import load_checkpoint
from frih.training.balance import Balance, costs
from frih.training.runs import resume_run, resumed_config, start_run
from tests.test_processes_agree import in_processes
from tests.training.conftest import assert_same_weights

IMAGES, BATCH = 26, 12
ITEMS = [Item("root", "A", f"{number}_1_1.jpg", f"{number}_1.png", f"{number}.jpg") for number in range(IMAGES)]


def label_map(epoch: int, index: int) -> torch.Tensor:
    """Of an image whose cost differs little from one epoch to the next; in each one other has no foreground."""
    labels = np.zeros((64, 64), np.uint8)
    if (epoch + index) % 23:
        labels[: 2 * (index + epoch % 2) + 1] = 1 + np.arange(64) % (1 + index % 5)
    return torch.from_numpy(labels)


def train(world: World, accumulate: int, stops: list[int]) -> list[list[list[list[int]]]]:
    """Every process's images of each step of three epochs; after some steps another run goes on from the state."""
    balance, shares = None, []
    for step in range(3 * (IMAGES // BATCH)):
        if balance is None or step in stops:
            state = balance and balance.state()
            order = GlobalBatchSampler(IMAGES, BATCH, seed=0, world=world, accumulate=accumulate)
            balance = Balance(order, ITEMS, world)
            if state is not None:
                balance.load(state)
        epoch, within = divmod(step, len(order))
        if within == 0:
            balance.begin_epoch()
        keys = order.batch_of(epoch, within)
        balance.add([ITEMS[index] for _, index in keys], torch.stack([label_map(*key) for key in keys]))
        shares.append(world.gather([index for _, index in keys]))
    return shares


def straight_and_resumed(world: World) -> list:
    return [train(world, accumulate, stops) for accumulate in (1, 2) for stops in ([], [1, 3, 4])]


def test_processes_divide_each_batch_and_a_run_that_is_resumed_divides_alike():
    [whole, *_] = straight_and_resumed(World())
    at_once, resumed, in_two_parts, in_two_parts_resumed = in_processes(2, straight_and_resumed)
    assert (resumed, in_two_parts_resumed) == (at_once, in_two_parts)
    for accumulate, run in enumerate((at_once, in_two_parts), start=1):
        part, excess = BATCH // accumulate, []
        for step, ([batch], (one, other)) in enumerate(zip(whole, run, strict=True)):
            for begin in range(0, BATCH, part):  # images whose statistics are taken together stay together
                own = slice(begin // 2, (begin + part) // 2)
                assert sorted(one[own] + other[own]) == sorted(batch[begin : begin + part])
            loads = [
                [sum(cost_of(step // 2, index) for index in share) for share in pair]
                for pair in deals(batch, one, other)
            ]
            excess.append([max(pair) - sum(pair) / 2 for pair in loads])
        dealt, divided = np.array(excess).T
        assert np.array_equal(dealt[:2], divided[:2])  # in the first epoch nothing is known
        assert divided[2:].sum() < dealt[2:].sum()


def deals(batch: list[int], *shares: list[int]) -> list[tuple[list[int], ...]]:
    """The shares of two processes to which a batch's images are dealt like cards, and these shares."""
    return [(batch[0::2], batch[1::2]), shares]


def cost_of(epoch: int, index: int) -> int:
    return int(costs(label_map(epoch, index)[None])[0, 1])


def test_tiles_are_counted_for_each_submask():
    labels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    labels[0, :20, :20] = 1  # 4 tiles
    labels[0, :20, 40:] = 2  # 4 tiles
    labels[2] = 5  # all 16
    assert costs(labels).tolist() == [[2, 8], [0, 0], [5, 16]]


def test_costs_are_those_of_the_epoch_before():
    order = GlobalBatchSampler(4, 2, seed=0, world=World(0, 2))
    balance = Balance(order, ITEMS[:4], World())
    balance.counted[:] = torch.tensor([[1, 2], [0, 0], [3, 4], [0, 0]])
    order.costs[1] = 7
    balance.begin_epoch()
    assert order.costs.tolist() == [[1, 2], [7, 7], [3, 4], [0, 0]]
    assert not balance.counted.any()


def test_a_run_of_two_processes_resumes_to_the_bit(dataset, tmp_path, small_config):
    config = small_config(
        train={"epochs": 2, "milestones": [2], "batch": 2},
        data={"root": str(dataset), "workers": 0},
        validation={"fraction": 0, "every": 2, "images": 0},
        checkpoint={"every_steps": 1, "keep": 99},
        run=str(tmp_path / "run"),
    )
    assert in_processes(2, fit_and_resume, config, tmp_path)
    one, other = tmp_path / "run", tmp_path / "resumed"
    assert_same_weights(one, other)
    known, counted = load_checkpoint(other / "checkpoints/last.pt")["training"]["costs"]
    assert known.any(dim=1).sum() >= 4
    assert counted.any()


def fit_and_resume(world: World, config, folder: Path) -> bool:
    """A whole run; then a copy of its folder, from the middle of its second epoch."""
    whole = start_run(config, world).fit()
    run = folder / "resumed"
    if world.is_main:
        shutil.copytree(folder / "run", run)
    world.barrier()
    checkpoint = run / "checkpoints/step-00000003.pt"
    return whole and resume_run(resumed_config(checkpoint, []), world, checkpoint).fit()
