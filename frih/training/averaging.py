"""The exponential moving average of a network's weights."""

import copy

import torch

from frih.models import FRIH


class EMA:
    """A second network whose weights follow those of the first: w' <- decay w' + (1 - decay) w after every step.

    Args:
        network: whose weights it begins with.
        decay: between 0 and 1; some 1 / (1 - decay) steps count.
    """

    def __init__(self, network: FRIH, decay: float) -> None:
        self.network = copy.deepcopy(network)
        self.decay = decay

    def restart(self, network: FRIH) -> None:
        """Begins anew with a network's weights."""
        self.network.load_state_dict(network.state_dict())

    @torch.no_grad()
    def update(self, network: FRIH) -> None:
        """Follows a step of the network; the running statistics of batches are taken over as they are."""
        for average, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(weight, 1 - self.decay)
        for own, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(buffer)
