"""iDIH256 (Sofiiuk, Popenova, Konushin: Foreground-aware Semantic Representations for Image Harmonization, WACV 2021)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from frih.models.output import ColorSpace, Output
from peer_networks.peer import Peer

WIDTHS = (64, 64, 128, 128, 256, 256, 512)
LAST = 32


class IDIH(Peer):
    """A U-Net of 4x4 convolutions down to one pixel and back; it adds its skips and blends its result with the composite.

    All layers but the first two are normalised. Only 256 x 256 pixels fit.
    """

    def __init__(self) -> None:
        super().__init__()
        steps = list(pairwise((4, *WIDTHS)))
        self.encoder = nn.ModuleList(
            _layer(nn.Conv2d(*step, 4, stride=2, padding=int(step is not steps[-1])), norm=i >= 2)
            for i, step in enumerate(steps)
        )
        self.decoder = nn.ModuleList(
            _layer(nn.ConvTranspose2d(*step, 4, stride=2, padding=int(i > 0)), norm=True)
            for i, step in enumerate(pairwise((*reversed(WIDTHS), LAST)))
        )
        self.output = Output(LAST, "blend")
        self.color_space = ColorSpace()

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, 256, 256) in [0, 1] and mask (B, 1, 256, 256) to the image (B, 3, 256, 256)."""
        x = torch.cat([self.color_space.normalize(composite), mask], dim=1)
        skips: list[Tensor] = []
        for layer in self.encoder:
            skips.append(x)
            x = layer(x)
        for layer, skip in zip(self.decoder, [*skips[:0:-1], None], strict=True):
            x = layer(x)
            x = x if skip is None else x + skip
        return self.output(x, composite)


def _layer(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: bool) -> nn.Sequential:
    normalization = [nn.BatchNorm2d(convolution.out_channels)] if norm else []
    return nn.Sequential(convolution, *normalization, nn.ELU(inplace=True))
