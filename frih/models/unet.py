"""Stage one: the base network, a U-Net whose picture is blended with the composite.

It follows iDIH's network (Sofiiuk et al., WACV 2021), which FRIH's "simple U-Net alike network" resembles in everything the
paper states: seven 4x4 convolutions down to 2x2, seven deconvolutions back up, and a skip between layers of the same size.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from frih.models.norm import BatchNorm

BASE_WIDTHS = (48, 80, 96, 176, 192, 384, 400)
BASE_DECODER_WIDTH = 32
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class BaseNetwork(nn.Module):
    """Composite and mask to the coarse picture.

    Normalisation starts at the third encoder layer; the decoder has it throughout, and adds (not concatenates) its skips.

    Args:
        widths: channels C_1 ... C_7 of the encoder; the decoder mirrors them.
        decoder_width: channels of the decoder's last layer, from which the picture is predicted.
        norm: ``"batch"`` or ``"none"``.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int] = BASE_WIDTHS,
        decoder_width: int = BASE_DECODER_WIDTH,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        norms = ["none", "none", *[norm] * (len(widths) - 2)]
        self.encoder = nn.ModuleList(
            down_layer(fan_in, fan_out, norm)
            for fan_in, fan_out, norm in zip((4, *widths[:-1]), widths, norms, strict=True)
        )
        decoder_widths = (*reversed(widths), decoder_width)
        self.decoder = nn.ModuleList(up_layer(fan_in, fan_out, norm) for fan_in, fan_out in pairwise(decoder_widths))
        self.to_rgb = nn.Conv2d(decoder_width, 3, 1)
        self.blend = BlendingLayer(decoder_width)
        self.color_space = ColorSpace()
        initialize(self)

    def forward(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Predicts the coarse picture.

        Args:
            composite: (B, 3, H, W), RGB in [0, 1].
            mask: (B, 1, H, W), 1 = foreground.

        Returns:
            The coarse picture (B, 3, H, W), and the encoder's features E_1 ... E_7, E_i of shape (B, C_i, H / 2^i, W / 2^i).
        """
        x = torch.cat([self.color_space.normalize(composite), mask], dim=1)
        features: list[Tensor] = []
        for layer in self.encoder:
            x = layer(x)
            features.append(x)
        for layer, skip in zip(self.decoder, [*features[-2::-1], None], strict=True):
            x = layer(x)
            if skip is not None:
                x = x + skip
        rgb = self.color_space.denormalize(self.to_rgb(x))
        return self.blend(x, composite, rgb), features


class BlendingLayer(nn.Module):
    """Mixes a picture with the prediction made from it: a * picture + (1 - a) * rgb, a = sigmoid(3 conv1x1(features)).

    Unchanged detail passes by the network, which then has only the change to learn.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(width, 1, 1)

    def forward(self, features: Tensor, picture: Tensor, rgb: Tensor) -> Tensor:
        """Features (N, width, H, W), picture and rgb (N, 3, H, W) to the blended picture (N, 3, H, W)."""
        a = torch.sigmoid(3.0 * self.attention(features))
        return a * picture + (1.0 - a) * rgb


class ColorSpace(nn.Module):
    """RGB in [0, 1] to the zero-mean, unit-variance space the networks work in (ImageNet's statistics), and back."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def normalize(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W), from [0, 1]."""
        return (picture - self.mean) / self.std

    def denormalize(self, rgb: Tensor) -> Tensor:
        """(N, 3, H, W), to RGB in [0, 1]; a prediction outside is not clamped, so that its gradient lives."""
        return rgb * self.std + self.mean


def down_layer(fan_in: int, fan_out: int, norm: str) -> nn.Sequential:
    """A 4x4 convolution that halves height and width: (N, fan_in, h, w) to (N, fan_out, h / 2, w / 2)."""
    return _layer(nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=norm == "none"), fan_out, norm)


def up_layer(fan_in: int, fan_out: int, norm: str) -> nn.Sequential:
    """A 4x4 transposed convolution that doubles height and width: (N, fan_in, h, w) to (N, fan_out, 2 h, 2 w)."""
    return _layer(nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=norm == "none"), fan_out, norm)


def _layer(convolution: nn.Module, width: int, norm: str) -> nn.Sequential:
    normalization = {"batch": [BatchNorm(width)], "none": []}[norm]
    return nn.Sequential(convolution, *normalization, nn.ELU(inplace=True))


def initialize(module: nn.Module) -> None:
    """Sets every convolution of ``module`` to Xavier-Gaussian weights and a zero bias."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
