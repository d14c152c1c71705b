"""The 4x4 convolutions that halve and double an image, for CPUs without what PyTorch does beside them.

PyTorch brings a convolution's weights into another order each time that it runs. Where a layer has more weights than pixels,
that takes longer than the convolution. There these take a product of matrices, in evaluation without gradients.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW = 16
"""So many pixels, on the side of a layer that has less of them, are few."""


class Down(nn.Conv2d):
    """A 4x4 convolution of stride 2: (N, C, h, w) to (N, D, h / 2, w / 2)."""

    def __init__(self, fan_in: int, fan_out: int, *, bias: bool) -> None:
        super().__init__(fan_in, fan_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolves."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        if not _takes_product(x, height * width, self.training):
            return super().forward(x)
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        patches = padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(0, 1, 2, 4, 5, 3)  # (N, h / 2, w / 2, 4, 4, C)
        rows = patches.reshape(-1, 16 * self.in_channels) @ self.weight.permute(0, 2, 3, 1).flatten(1).t()
        return _with_bias(rows, self.bias).view(len(x), height, width, self.out_channels).permute(0, 3, 1, 2)


class Up(nn.ConvTranspose2d):
    """A 4x4 transposed convolution of stride 2: (N, C, h, w) to (N, D, 2 h, 2 w)."""

    def __init__(self, fan_in: int, fan_out: int, *, bias: bool) -> None:
        super().__init__(fan_in, fan_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Convolves."""
        count, channels, height, width = x.shape
        if not _takes_product(x, height * width, self.training):
            return super().forward(x)
        parts = x.permute(0, 2, 3, 1).reshape(-1, channels) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        parts = parts.view(
            count, height, width, 2, 2, 2, 2, self.out_channels
        )  # of 4 rows: which block of 2, which in it
        blocks = parts.new_zeros(count, height + 1, 2, width + 1, 2, self.out_channels)
        for i in range(2):
            for j in range(2):
                blocks[:, i : i + height, :, j : j + width] += parts[:, :, :, i, :, j].transpose(2, 3)
        return _with_bias(blocks.flatten(3, 4).flatten(1, 2)[:, 1:-1, 1:-1], self.bias).permute(0, 3, 1, 2)


def _takes_product(x: Tensor, pixels: int, training: bool) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling()
    usual = training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu")
    return plain and pixels <= _FEW and not usual


def _with_bias(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias
