"""EfficientNet-B0 (Tan and Le, ICML 2019) without its classifier, with the two stems of Harmonizer."""

import torch
from torch import Tensor, nn

FEATURES = 1280
STEM = 32
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
"""Expansion, kernel, stride, width, blocks."""


class EfficientNet(nn.Module):
    """Two images of four channels, such as foreground and background, to features."""

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleList(_layer(4, STEM // 2, 3, stride=2) for _ in range(2))
        blocks, width = [], STEM
        for expansion, kernel, stride, out, count in STAGES:
            for i in range(count):
                blocks.append(Block(width, out, expansion=expansion, kernel=kernel, stride=1 if i else stride))
                width = out
        self.blocks = nn.Sequential(*blocks, _layer(width, FEATURES, 1))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 4, H, W), twice, to (B, FEATURES, H / 32, W / 32)."""
        stems = [stem(image) for stem, image in zip(self.stems, (first, second), strict=True)]
        return self.blocks(torch.cat(stems, dim=1))


class Block(nn.Module):
    """An inverted residual block with squeeze and excitation."""

    def __init__(self, width: int, out: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = expansion * width
        self.expand = _layer(width, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _layer(wide, wide, kernel, stride=stride, groups=wide)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, width // 4, 1),
            nn.SiLU(inplace=True),
            nn.Conv2d(width // 4, wide, 1),
            nn.Sigmoid(),
        )
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.residual = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to (B, out, h / stride, w / stride)."""
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.excite(y))
        return x + y if self.residual else y


def _layer(fan_in: int, fan_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(fan_in, fan_out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(fan_out), nn.SiLU(inplace=True))
