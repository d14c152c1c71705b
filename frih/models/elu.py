"""The exponential linear unit, twice as fast on CPUs as PyTorch's."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PIECE = 1 << 18
"""Values that are worked on at once: they stay in a core's cache."""


class ELU(nn.Module):
    """x where it is positive, exp(x) - 1 elsewhere; in place, also for the gradient.

    On CPUs PyTorch spends as much time on this as on the convolutions, since it computes exp(x) - 1 as a function of its own
    (``expm1``) to the last bit near 0. Here it is max(x, exp(min(x, 0)) - 1), which differs by at most 6e-8: no more than the
    rounding of values near 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the result takes the input's place in memory."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.compiler.is_compiling():
            return F.elu(x) if torch.compiler.is_compiling() else F.elu_(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return elu_(x)
        result: Tensor = _ELU.apply(x)
        return result


def elu_(x: Tensor) -> Tensor:
    """The function, in place; x lies in memory without gaps, or is copied."""
    flat = x.permute(0, 2, 3, 1).reshape(-1) if _is_channels_last(x) else x.reshape(-1)
    room = torch.empty(min(len(flat), _PIECE * torch.get_num_threads()), dtype=x.dtype)
    for start in range(0, len(flat), max(1, len(room))):
        part = flat[start : start + len(room)]
        below = torch.clamp(part, max=0, out=room[: len(part)]).exp_().sub_(1)
        torch.maximum(part, below, out=part)
    return x if flat.data_ptr() == x.data_ptr() else x.copy_(flat.view(x.shape))


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


_elu_backward: Callable[..., Tensor] = torch.ops.aten.elu_backward


class _ELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(elu_(x))
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return _elu_backward(gradient, 1.0, 1.0, 1.0, True, result)
