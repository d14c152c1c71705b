"""From pixels to the network's input: one image, a batch of them between processes, a batch on the device."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frih.common.devices import is_pinnable
from frih.data.iharmony4 import Item
from frih.data.images import HALF


class Sample(NamedTuple):
    """One image at one size, 8 bits a channel."""

    composite: np.ndarray
    """(H, W, 3) uint8."""
    real: np.ndarray
    """(H, W, 3) uint8."""
    soft_mask: np.ndarray
    """(H, W) uint8, grey."""
    labels: np.ndarray
    """(H, W) uint8: 0 = background, k = submask k."""
    item: Item

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: the grey mask thresholded at 0.5."""
        return self.soft_mask >= HALF


class Packed(NamedTuple):
    """B samples as they travel between processes, stacked."""

    composite: Tensor
    real: Tensor
    soft_mask: Tensor
    labels: Tensor
    items: list[Item]

    def samples(self) -> list[Sample]:
        """The images one by one."""
        arrays = [tensor.numpy() for tensor in (self.composite, self.real, self.soft_mask, self.labels)]
        return [Sample(*parts) for parts in zip(*arrays, self.items, strict=True)]

    def unpack(self, device: torch.device) -> "Batch":
        """The batch on a device; nothing waits for a GPU where this batch lies in pinned memory."""
        composite, mask = network_input(self.composite, self.soft_mask, device)
        return Batch(composite, mask, self.labels, as_floats(self.real, device), self.items)


class Batch(NamedTuple):
    """B images on the device, as training reads them."""

    composite: Tensor
    """(B, 3, H, W) float, RGB in [0, 1]."""
    mask: Tensor
    """(B, 1, H, W) float, 1 = foreground, 0 = background."""
    labels: Tensor
    """(B, H, W) uint8, on the CPU: 0 = background, k = submask k."""
    real: Tensor
    """(B, 3, H, W) float, RGB in [0, 1]."""
    items: list[Item]

    def parts(self, count: int) -> list["Batch"]:
        """The batch in equal parts."""
        size = len(self.items) // count
        slices = [slice(i * size, (i + 1) * size) for i in range(count)]
        return [Batch(*(field[part] for field in self)) for part in slices]  # type: ignore[arg-type]


def pack(samples: Sequence[Sample]) -> Packed:
    """Stacks samples."""
    columns = zip(*samples, strict=True)
    composite, real, soft_mask, labels = (torch.from_numpy(np.stack(next(columns))) for _ in range(4))
    return Packed(composite, real, soft_mask, labels, list(next(columns)))


def network_input(composite: Tensor, soft_mask: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """What every network is given: training, evaluation, your own images and exported networks come by here.

    Args:
        composite: (B, H, W, 3) uint8, RGB.
        soft_mask: (B, H, W) uint8, grey; half and above is foreground.
        device: of the result.

    Returns:
        The composite (B, 3, H, W) in [0, 1], and the mask (B, 1, H, W) of 0 and 1.
    """
    mask = soft_mask.to(device, non_blocking=is_pinnable(device)) >= HALF
    return as_floats(composite, device), mask.float().unsqueeze(1)


def as_floats(pixels: Tensor, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float in [0, 1] on a device."""
    return pixels.to(device, non_blocking=is_pinnable(device)).permute(0, 3, 1, 2).contiguous().float().div_(255)
