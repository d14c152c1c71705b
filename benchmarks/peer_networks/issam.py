"""iSSAM256 (of iDIH's authors, after Cun and Pun: Improving the Harmony of the Composite Image by Spatial-Separated Attention).

Its encoder and decoder are also those of PCT-Net's CNN and of DucoNet.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frih.models.output import ColorSpace, Output
from peer_networks.peer import Peer, conv

WIDTHS = (32, 64, 128, 256)


class ISSAM(Peer):
    """A U-Net of 3x3 convolutions, with attention in the last layer of its decoder; blended with the composite."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(4)
        self.decoder = Decoder()
        self.output = Output(WIDTHS[0], "blend")
        self.color_space = ColorSpace()

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        features = self.encoder(torch.cat([self.color_space.normalize(composite), mask], dim=1))
        return self.output(self.decoder(features, mask), composite)


class Encoder(nn.Module):
    """Four times two convolutions, with maxima of 2x2 between them; the first four convolutions are not normalised.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _two(*step, norm=level >= 2) for level, step in enumerate(pairwise((channels, *WIDTHS)))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) to four features, the i-th of shape (B, WIDTHS[i], H / 2^i, W / 2^i)."""
        features: list[Tensor] = []
        for block in self.blocks:
            features.append(block(F.max_pool2d(features[-1], 2) if features else x))
        return features


class Decoder(nn.Module):
    """Three times: enlarged, convolved, joined to the encoder's features, convolved twice."""

    def __init__(self) -> None:
        super().__init__()
        steps = list(pairwise(reversed(WIDTHS)))
        self.enlarged = nn.ModuleList(conv(*step, norm=False) for step in steps)
        self.blocks = nn.ModuleList(_two(2 * width, width, norm=True) for _, width in steps)
        self.attention = Attention(2 * WIDTHS[0])

    def forward(
        self, features: Sequence[Tensor], mask: Tensor, after: Sequence[Callable[[Tensor], Tensor]] = ()
    ) -> Tensor:
        """The encoder's features to features (B, WIDTHS[0], H, W).

        Args:
            features: from the finest to the coarsest.
            mask: (B, 1, H, W).
            after: what else is done with the result of each level, from the coarsest; or nothing.
        """
        *skips, x = features
        for level, (enlarged, block) in enumerate(zip(self.enlarged, self.blocks, strict=True)):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = torch.cat([skips[-1 - level], enlarged(x)], dim=1)
            x = block(self.attention(x, mask) if level == len(skips) - 1 else x)
            x = after[level](x) if after else x
        return x


class Attention(nn.Module):
    """Spatially separated attention: gated features outside the mask; inside, two more convolutions of them are added.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.outside, self.inside, self.both = (Gate(width) for _ in range(3))
        self.learnt = nn.Sequential(
            conv(width, width // 2, norm=True, bias=False), conv(width // 2, width, norm=True, bias=False)
        )
        bell = torch.exp(-torch.linspace(-3, 3, 7).square() / 2)
        self.register_buffer("blur", torch.outer(bell, bell)[None, None] / bell.sum().square())

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Features (B, width, h, w) and mask (B, 1, H, W) to features (B, width, h, w)."""
        mask = F.interpolate(mask, size=x.shape[-2:], mode="bilinear", align_corners=True)
        mask = F.conv2d(mask, self.blur, padding=3)
        return mask * (self.learnt(self.inside(x)) + self.both(x)) + (1 - mask) * self.outside(x)


class Gate(nn.Module):
    """Weights the channels by their means and maxima.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(width // 16, 8)
        self.weigh = nn.Sequential(
            nn.Linear(2 * width, narrow), nn.ReLU(inplace=True), nn.Linear(narrow, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        weights: Tensor = self.weigh(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))
        return x * weights[:, :, None, None]


def _two(fan_in: int, fan_out: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(conv(fan_in, fan_out, norm=norm), conv(fan_out, fan_out, norm=norm))
