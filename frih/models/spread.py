"""From images to the pairs of an image and a submask."""

from typing import Any

import torch
from torch import Tensor


def spread(x: Tensor, owner: Tensor) -> Tensor:
    """Gives each pair the features of its image.

    Args:
        x: (B, C, h, w).
        owner: (P,), the image of each pair.

    Returns:
        (P, C, h, w), channels last in memory.
    """
    if torch.compiler.is_compiling():
        return x.index_select(0, owner)
    count, channels, height, width = x.shape
    images = x.permute(0, 2, 3, 1).reshape(count, height * width * channels)
    pairs: Tensor = _Spread.apply(images, owner)
    return pairs.view(len(owner), height, width, channels).permute(0, 3, 1, 2)


class _Spread(torch.autograd.Function):
    """``index_select``; the gradient adds whole images, while PyTorch's adds value by value."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, owner: Tensor) -> Tensor:
        ctx.save_for_backward(owner)
        ctx.count = len(images)
        return images.index_select(0, owner)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (owner,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.count, gradient.shape[1]).index_add_(0, owner, gradient), None
