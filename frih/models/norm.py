"""Batch normalisation over all images of a step, in whichever process they are."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from frih.models.tiles import Tiles, pixels, windows

_MEASURED = ("cpu", "cuda")
"""Devices on which PyTorch measures statistics without normalising."""


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
            y: Tensor = _Normalize.apply(x, self.weight, self.bias, self)
            return y
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)

    def of_windows(self, x: Tensor, tiles: Tiles, halo: int) -> Tensor:
        """What :meth:`forward` gives in training, in windows alone; its statistics are those of all of x.

        The normalised images are never written, and nothing of their size but x is kept for the gradient.

        Args:
            x: (P, C, H, W).
            tiles: N of them.
            halo: as for :func:`~frih.models.tiles.windows`.

        Returns:
            (N, C, T + 2 halo, T + 2 halo); outside the image anything.
        """
        known = x.device.type in _MEASURED and not torch.compiler.is_compiling()
        if not known or (not x.numel() and not self.synchronized):
            return windows(self(x), tiles, halo)
        x = x.contiguous(memory_format=torch.channels_last)
        index = pixels((x.shape[2], x.shape[3]), tiles, halo)
        rows: Tensor = _NormalizeWindows.apply(x, self.weight, self.bias, self, index.flatten())
        return rows.view(*index.shape, x.shape[1]).permute(0, 3, 1, 2)

    @torch.no_grad()
    def measure(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The statistics of x in training, of which the running ones take note.

        Returns:
            Mean (C,), variance (C,), and the number of values a channel (): of all processes, if they are synchronised. Of one
            value or none the running statistics are returned.
        """
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        if not self.synchronized:
            mean, variance = torch.batch_norm_update_stats(x, self.running_mean, self.running_var, momentum)
            return mean, variance, mean.new_full((), x.numel() / x.shape[1])
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        sums = torch.cat([exact.sum(dim=(0, 2, 3)), exact.new_full((1,), x.numel() / x.shape[1])])
        dist.all_reduce(sums)
        count = sums[-1]
        enough = count > 1
        mean = torch.where(enough, sums[:-1] / count.clamp(min=1), self.running_mean)
        squares = (exact - mean.view(-1, 1, 1)).square().sum(dim=(0, 2, 3))
        dist.all_reduce(squares)
        variance = torch.where(enough, squares / count.clamp(min=1), self.running_var)
        share = momentum * (count > 1).to(count)
        self.running_mean += share * (mean - self.running_mean)
        self.running_var += share * (variance * count / (count - 1).clamp(min=1) - self.running_var)
        return mean, variance, count


class _NormalizeWindows(torch.autograd.Function):
    """Some pixels (index) of the normalisation, (., C). The gradient is an affine function of x elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: BatchNorm, index: Tensor) -> Tensor:
        mean, variance, count = norm.measure(x)
        scale = (variance + norm.eps).rsqrt()
        cut = _rows(x).index_select(0, index)
        factor = (weight * scale).to(mean)
        y = torch.addcmul(bias - mean * factor, cut.to(mean.dtype), factor).to(x.dtype)
        ctx.save_for_backward(x, weight, mean, scale, count, index)
        ctx.synchronized = norm.synchronized
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count, index = ctx.saved_tensors
        exact = dy.to(mean.dtype)
        normalized = (_rows(x).index_select(0, index).to(mean.dtype) - mean) * scale
        dbias, dweight = exact.sum(dim=0), (exact * normalized).sum(dim=0)
        sums = torch.stack([dbias, dweight])
        if ctx.synchronized:
            dist.all_reduce(sums)
        sums = sums * (count > 1) / count.clamp(min=1)
        factor = weight * scale
        slope = -factor * sums[1] * scale
        shift = -factor * sums[0] - slope * mean
        dx = F.batch_norm(x, torch.zeros_like(mean), torch.ones_like(mean), slope, shift, training=False, eps=0.0)
        _rows(dx).index_add_(0, index, (factor * exact).to(dx.dtype))
        return dx, dweight, dbias, None, None


def _rows(x: Tensor) -> Tensor:
    """(N, C, h, w), channels last in memory, to (N h w, C), without a copy."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


class _Normalize(torch.autograd.Function):
    """The normalisation and its gradient, with sums over all processes; running statistics stand in for one value or none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: BatchNorm) -> Tensor:
        mean, variance, count = norm.measure(x)
        ctx.save_for_backward(x, weight, mean, (variance + norm.eps).rsqrt(), count)
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        exact = dy.to(mean.dtype)
        normalized = (x.to(mean.dtype) - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1)
        dbias, dweight = exact.sum(dim=(0, 2, 3)), (exact * normalized).sum(dim=(0, 2, 3))
        sums = torch.stack([dbias, dweight])
        dist.all_reduce(sums)
        sums = (sums * (count > 1) / count.clamp(min=1)).view(2, -1, 1, 1)
        dx = (weight * scale).view(-1, 1, 1) * (exact - sums[0] - normalized * sums[1])
        return dx.to(x.dtype), dweight, dbias, None
