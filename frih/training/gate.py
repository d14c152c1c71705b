"""A warning for networks that end in a blending layer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from frih.models.output import Output


class Gate:
    """Watches whether the base network's blending layer closes (:class:`~frih.models.output.Output`).

    A closed gate returns the composite and passes almost no gradient: the network then learns next to nothing.

    Args:
        network: may hold such a layer; the first is watched.
    """

    CLOSED, LEARNT = 0.8, 0.97
    """The gate counts as closed when its mean in the foreground exceeds the first, and the coarse loss exceeds the second times
    the loss of an unchanged composite. At full width they were 0.85 and 0.998 after 200 steps (docs/experiments.md, 6)."""

    def __init__(self, network: nn.Module) -> None:
        layers = (part for part in network.modules() if isinstance(part, Output) and part.attention is not None)
        self.output = next(layers, None)
        self.names = ("gate",) if self.output else ()
        self.told = False

    def mean(self, mask: Tensor) -> list[Tensor]:
        """The mean of the last gate over each image's foreground (or all of the image), mean over images: one for each name.

        Args:
            mask: (N, 1, H, W), 1 = foreground, of the images that the network has just seen.
        """
        if self.output is None or self.output.gate is None:
            return []
        where = torch.where(mask.amax(dim=(2, 3), keepdim=True) > 0, mask, torch.ones_like(mask))
        means = (self.output.gate.float() * where).sum(dim=(1, 2, 3)) / where.sum(dim=(1, 2, 3))
        return [means.mean()]

    def warning(self, figures: Mapping[str, Any], step: int) -> str | None:
        """A warning, once, if the figures of a line of the log show a closed gate."""
        mean = figures.get("train/gate", 0.0)
        if self.told or not mean > self.CLOSED:
            return None
        if not figures["train/loss_coarse"] > self.LEARNT * figures["train/loss_unchanged"]:
            return None
        self.told = True
        return (
            f"step {step}: the blending layer's gate has closed (mean {mean:.3f} in the foreground): the base network gives "
            "the composite back and learns next to nothing. Begin anew with model.residual=true; docs/training.md says more"
        )
