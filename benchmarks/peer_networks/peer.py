"""What the networks have in common: composite and mask in, one image out."""

from abc import abstractmethod

from torch import Tensor, nn

from frih.models.network import Harmonized, Network


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


def conv(fan_in: int, fan_out: int, *, norm: bool, bias: bool = True) -> nn.Sequential:
    """A 3x3 convolution, batch normalisation if wanted, ReLU."""
    normalization = [nn.BatchNorm2d(fan_out)] if norm else []
    return nn.Sequential(nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=bias), *normalization, nn.ReLU(inplace=True))
