"""The exponential moving average of a network's weights, with running statistics of its own.

PyTorch's ``AveragedModel`` takes over the running statistics of the network that it averages. But averaged weights give other
activations. After 4,050 steps of a base network, its average had 0.55 of the input's fMSE with the network's statistics, and
0.47 with statistics measured anew (docs/experiments.md, 8). ``scripts/recalibrate.py`` measures them on whole images.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from frih.data.batches import Batch
from frih.models import Network
from frih.training.nonfinite import restore

EACH, EVERY = 100, 10
"""The average sees the batch, too, in each of the first steps, and later in every tenth."""
MOMENTUM = 0.03
"""Share of a batch in its running statistics, once 1 / MOMENTUM batches were seen; before, they are the mean of all. Its
weights move slowly, so these may be steadier than the network's (0.1)."""


class Average:
    """w' <- decay w' + (1 - decay) w after every step, from the network's present weights.

    Args:
        network: is copied.
        decay: of the average, 0 to 1.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        self.decay = decay

    def follow(self, network: Network) -> None:
        """Moves the average towards the network's weights."""
        averages, weights = ([value.detach() for value in one.parameters()] for one in (self.network, network))
        torch._foreach_lerp_(averages, weights, 1 - self.decay)

    def watch(self, step: int, parts: Sequence[Batch]) -> None:
        """Updates the running statistics by the parts of a step's batch, now and then; every process must call it.

        Nothing waits for a GPU. Statistics that would not be finite are not taken.
        """
        if not self.norms or (step >= EACH and step % EVERY):
            return
        seen = min(step, EACH) + max(step - EACH, 0) // EVERY
        for norm in self.norms:
            norm.momentum = max(MOMENTUM, 1 / (seen + 1))
        before = [value.clone() for value in self.network.buffers()]
        self.network.train()
        with torch.no_grad():
            for part in parts:
                self.network(part.composite, part.mask, part.labels)
        pairs = zip(self.network.buffers(), before, strict=True)
        restore(self.network.buffers(), (torch.where(now.isfinite().all(), now, old) for now, old in pairs))
        self.network.eval()
