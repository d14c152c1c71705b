"""DucoNet (Tan, Li, Niu, Zhang: Deep Image Harmonization in Dual Color Spaces, ACM MM 2023)."""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frih.models.output import ColorSpace, Output
from peer_networks.issam import WIDTHS, Decoder, Encoder
from peer_networks.peer import Peer

CODE = 256


class DucoNet(Peer):
    """iSSAM's U-Net, whose decoder is controlled by codes of the channels L, a and b."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(4)
        self.decoder = Decoder()
        self.output = Output(WIDTHS[0], "blend")
        self.codes = nn.ModuleList(Code() for _ in "Lab")
        self.controls = nn.ModuleList(Control(width) for width in reversed(WIDTHS[:-1]))
        self.color_space = ColorSpace()

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        channels = to_lab(composite).split(1, dim=1)
        codes = [code(torch.cat([one, mask], dim=1)) for code, one in zip(self.codes, channels, strict=True)]
        features = self.encoder(torch.cat([self.color_space.normalize(composite), mask], dim=1))
        after = [partial(control, codes=codes, mask=mask) for control in self.controls]
        return self.output(self.decoder(features, mask, after), composite)


class Code(nn.Module):
    """One channel and the mask to a code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(2)
        self.to_code = nn.Sequential(nn.Linear(WIDTHS[-1], CODE), nn.ReLU(inplace=True), nn.Linear(CODE, CODE))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2, H, W) to (B, CODE)."""
        return self.to_code(self.encoder(x)[-1].mean((2, 3)))


class Control(nn.Module):
    """Inside the mask, features styled by each code, mixed by weights for each pixel.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.styles = nn.ModuleList(nn.ModuleList([Style(width), Style(width)]) for _ in "Lab")
        self.weigh = nn.Sequential(
            nn.Conv2d(3 * width, 32, 1), nn.ReLU(inplace=True), nn.Conv2d(32, 3, 1), nn.Softmax(1)
        )

    def forward(self, x: Tensor, codes: list[Tensor], mask: Tensor) -> Tensor:
        """Features (B, width, h, w), three codes (B, CODE) and mask (B, 1, H, W) to features (B, width, h, w)."""
        mask = F.interpolate(mask, size=x.shape[-2:], mode="bilinear", align_corners=True)
        styled = [second(first(x, code), code) for (first, second), code in zip(self.styles, codes, strict=True)]
        weights = self.weigh(torch.cat(styled, dim=1)).split(1, dim=1)
        mixed = sum(weight * one for weight, one in zip(weights, styled, strict=True))
        return x * (1 - mask) + mask * mixed


class Style(nn.Module):
    """StyleGAN2's convolution: a code scales its input channels, and its filters are normalised, image by image.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_scales = nn.Linear(CODE, width)
        self.weight = nn.Parameter(torch.randn(width, width, 3, 3) / math.sqrt(9 * width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Features (B, width, h, w) and codes (B, CODE) to features (B, width, h, w)."""
        weight = self.weight * (1 + self.to_scales(code))[:, None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        count, width = x.shape[:2]
        out = F.conv2d(x.flatten(0, 1)[None], weight.flatten(0, 1), padding=1, groups=count)
        return F.leaky_relu(out[0].unflatten(0, (count, width)) + self.bias[:, None, None], 0.2)


def to_lab(image: Tensor) -> Tensor:
    """SRGB (B, 3, H, W) in [0, 1] to CIELAB under D65, L and a and b brought to about [0, 1]."""
    linear = torch.where(image > 0.04045, ((image + 0.055) / 1.055) ** 2.4, image / 12.92)
    matrix = image.new_tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    white = image.new_tensor([0.9505, 1.0, 1.089])
    xyz = torch.einsum("ij,bjhw->bihw", matrix / white[:, None], linear)
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116).split(1, dim=1)
    return torch.cat([(116 * y - 16) / 100, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255], dim=1)
