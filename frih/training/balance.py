"""What images cost the second stage, by which the processes divide the next epoch's (:mod:`frih.data.division`).

An image's random box differs from one epoch to the next, and so do its submasks. Yet what they cost in one epoch is the best
guess of the next that we know of: ``docs/training.md`` says how good it is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from frih.common.distributed import World
from frih.data.iharmony4 import Item
from frih.data.loader import GlobalBatchSampler
from frih.models.tiles import TILE

_EVERY = 4
"""Tiles are counted by every fourth pixel of every fourth row: in half a millisecond for 16 images."""


class Balance:
    """What the images cost in this epoch and in the one before. One process alone has nothing to divide, and counts nothing.

    Args:
        order: gets the costs of the epoch before.
        items: the training images.
        world: whose processes count each their own images.
    """

    def __init__(self, order: GlobalBatchSampler, items: Sequence[Item], world: World) -> None:
        self.order, self.world = order, world
        self.index = {item: index for index, item in enumerate(items)}
        self.counted = torch.zeros(len(items), 2)
        """This epoch's costs of this process's images: submasks and tiles; 0 for all others."""

    def add(self, items: Sequence[Item], labels: Tensor) -> None:
        """Counts images of a step: of labels (B, H, W), on the CPU."""
        if self.world.size > 1:
            self.counted[[self.index[item] for item in items]] = costs(labels)

    def begin_epoch(self) -> None:
        """Hands on what was counted. Images of which it was nothing keep what was known. Every process must call it."""
        counted = self.world.sum(self.counted).numpy()
        seen = counted.any(axis=1)
        self.order.costs[seen] = counted[seen]
        self.counted.zero_()

    def state(self) -> Tensor:
        """(2, images, 2): what was known at the epoch's start, and what was counted since. Every process must call it."""
        return torch.stack([torch.from_numpy(self.order.costs), self.world.sum(self.counted)])

    def load(self, state: Tensor) -> None:
        """Goes on from a state, of any number of processes."""
        self.order.costs[:] = state[0].numpy()
        self.counted = state[1].clone() if self.world.is_main else torch.zeros_like(state[1])


def costs(labels: Tensor) -> Tensor:
    """(B, 2): an image's submasks, and about how many tiles they touch, each counted for itself.

    Args:
        labels: (B, H, W), integers: 0 = background.
    """
    blocks = (
        labels[:, ::_EVERY, ::_EVERY]
        .unfold(1, TILE // _EVERY, TILE // _EVERY)
        .unfold(2, TILE // _EVERY, TILE // _EVERY)
    )
    places = blocks.reshape(len(labels), -1, (TILE // _EVERY) ** 2).long()
    touched = torch.zeros(*places.shape[:2], int(labels.max()) + 1, dtype=torch.bool).scatter_(2, places, True)
    return torch.stack([labels.flatten(1).amax(dim=1), touched[..., 1:].sum(dim=(1, 2))], dim=1).float()
