"""What the networks have in common: composite and mask in, one image out."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from frih.models.network import Harmonized, Network
from frih.models.output import ColorSpace


class Peer(Network):
    """A network of one stage."""

    refines = False

    @abstractmethod
    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""

    def forward(self, composite: Tensor, mask: Tensor, labels: Tensor) -> Harmonized:
        """As all networks; it does not read the labels."""
        image = self.harmonize(composite, mask)
        return Harmonized(image, image)


class Blend(nn.Module):
    """The last layer of iDIH's kind: RGB, mixed with the composite by a weight a = sigmoid(3 * conv1x1) for each pixel.

    Args:
        width: channels of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_rgb = nn.Conv2d(width, 3, 1)
        self.attention = nn.Conv2d(width, 1, 1)
        self.color_space = ColorSpace()

    def forward(self, features: Tensor, composite: Tensor) -> Tensor:
        """Features (B, width, H, W) and composite (B, 3, H, W) to the image (B, 3, H, W)."""
        a = torch.sigmoid(3.0 * self.attention(features))
        return a * composite + (1.0 - a) * self.color_space.denormalize(self.to_rgb(features))


def conv(fan_in: int, fan_out: int, *, norm: bool, bias: bool = True) -> nn.Sequential:
    """A 3x3 convolution, batch normalisation if wanted, ReLU."""
    normalization = [nn.BatchNorm2d(fan_out)] if norm else []
    return nn.Sequential(nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=bias), *normalization, nn.ReLU(inplace=True))
