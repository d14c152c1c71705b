"""What training and evaluation ask of a network."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Harmonized(NamedTuple):
    """What a network makes of a batch; RGB in [0, 1], not clamped."""

    coarse: Tensor
    """(B, 3, H, W), the first stage's whole image."""
    refined: Tensor
    """(B, 3, H, W), the final image. With a second stage: its predictions inside the submasks, the composite outside."""


class Network(nn.Module, ABC):
    """A harmonization network of one or two stages."""

    refines: bool
    """Whether there is a second stage. Without one nothing reads the labels, and the coarse image is the refined one,
    but for ``model.shrink``."""

    @abstractmethod
    def forward(self, composite: Tensor, mask: Tensor, labels: Tensor) -> Harmonized:
        """Harmonizes a batch.

        Args:
            composite: (B, 3, H, W), RGB in [0, 1].
            mask: (B, 1, H, W), 1 = foreground, 0 = background.
            labels: (B, H, W), uint8: 0 = background, k = submask k. They may lie on the CPU while the others are on a GPU.
        """
