"""Batch normalisation over all images of a step, in whichever process they are."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation for batches that may be empty in some processes.

    Among several processes it takes the statistics of all of them, in float32 whatever the input's precision, on GPUs and CPUs
    alike; processes without a pair take part with nothing. A batch of one value a channel has no variance: it is normalised as
    in evaluation. (That happens in the deepest layer of a single pair at 128 x 128 pixels.)
    """

    synchronized = False
    """Whether to share statistics with the other processes; :meth:`frih.common.distributed.World.wrap` says so."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to the same shape; N may be 0."""
        if self.training and self.synchronized:
            return self._over_all_processes(x)
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)

    def _over_all_processes(self, x: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        y, mean, variance, count = _Normalize.apply(
            x, self.weight, self.bias, self.running_mean, self.running_var, self.eps
        )
        with torch.no_grad():
            share = self.momentum * (count > 1).to(count)
            self.running_mean += share * (mean - self.running_mean)
            self.running_var += share * (variance * count / (count - 1).clamp(min=1) - self.running_var)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normalized: Tensor = y
        return normalized


class _Normalize(torch.autograd.Function):
    """The normalisation and its gradient, with sums over all processes; running statistics stand in for one value or none."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        sums = torch.cat([exact.sum(dim=(0, 2, 3)), exact.new_full((1,), x.numel() / x.shape[1])])
        dist.all_reduce(sums)
        count = sums[-1]
        enough = count > 1
        mean = torch.where(enough, sums[:-1] / count.clamp(min=1), mean)
        squares = (exact - mean.view(-1, 1, 1)).square().sum(dim=(0, 2, 3))
        dist.all_reduce(squares)
        variance = torch.where(enough, squares / count.clamp(min=1), variance)
        y = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        exact = dy.to(mean.dtype)
        normalized = (x.to(mean.dtype) - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1)
        dbias, dweight = exact.sum(dim=(0, 2, 3)), (exact * normalized).sum(dim=(0, 2, 3))
        sums = torch.stack([dbias, dweight])
        dist.all_reduce(sums)
        sums = (sums * (count > 1) / count.clamp(min=1)).view(2, -1, 1, 1)
        dx = (weight * scale).view(-1, 1, 1) * (exact - sums[0] - normalized * sums[1])
        return dx.to(x.dtype), dweight, dbias, None, None, None
