"""DoveNet's generator (Cong et al.: Deep Image Harmonization via Domain Verification, CVPR 2020)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from peer_networks.peer import Peer

WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)
ATTENDED = 3
"""So many skips are gated: the outermost."""


class DoveNet(Peer):
    """A U-Net of 4x4 convolutions down to one pixel and back, with joined skips; 1x1 convolutions gate the outer ones.

    Only 256 x 256 pixels and their multiples fit.
    """

    def __init__(self) -> None:
        super().__init__()
        last = len(WIDTHS) - 1
        self.encoder = nn.ModuleList(
            _layer(nn.LeakyReLU(0.2) if i else None, nn.Conv2d(*step, 4, stride=2, padding=1), norm=0 < i < last)
            for i, step in enumerate(pairwise((4, *WIDTHS)))
        )
        self.decoder = nn.ModuleList(
            _layer(
                nn.ReLU(),
                nn.ConvTranspose2d(width if i == last else 2 * width, out, 4, stride=2, padding=1),
                norm=i > 0,
            )
            for i, (out, width) in reversed(list(enumerate(pairwise((3, *WIDTHS)))))
        )
        self.gates = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * width, 2 * width, 1), nn.Sigmoid()) for width in WIDTHS[:ATTENDED]
        )

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        x = torch.cat([2 * composite - 1, mask], dim=1)
        skips: list[Tensor] = []
        for layer in self.encoder:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for layer in self.decoder:
            x = layer(x)
            if skips:
                x = torch.cat([skips.pop(), x], dim=1)
                x = x * self.gates[len(skips)](x) if len(skips) < ATTENDED else x
        return (torch.tanh(x) + 1) / 2


def _layer(activation: nn.Module | None, convolution: nn.Conv2d | nn.ConvTranspose2d, norm: bool) -> nn.Sequential:
    normalization = [nn.InstanceNorm2d(convolution.out_channels)] if norm else []
    return nn.Sequential(*([activation] if activation else []), convolution, *normalization)
