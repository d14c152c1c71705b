"""Stage two in tiles: the same result as :func:`frih.models.frih.refine_literally` within rounding, at a fraction of the cost.

A pair's prediction is wanted inside its own submask alone, and the submasks of an image do not overlap. So the fusion head, and
in evaluation the last decoder layer, run only in the square tiles that a pair's submask touches. Shapes: N tiles of T x T
pixels among those of all pairs.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from frih.common.devices import is_pinnable
from frih.models.cascade import Cascade
from frih.models.fusion import FusionHead

TILE = 16
"""T, the side of a tile in pixels: smaller ones fit the submasks more closely but overlap more in what lies around them."""


def refine_in_tiles(
    cascade: Cascade, head: FusionHead, composite: Tensor, labels: Tensor, coarse: Tensor, features: Sequence[Tensor]
) -> Tensor:
    """Arguments and result of :func:`frih.models.frih.refine_literally`."""
    found = find(labels, composite.device)
    labels = send(labels, composite.device)
    submasks = (labels[found.owner] == found.label.view(-1, 1, 1)).unsqueeze(1).to(composite)
    lower, fused = cascade.decode(coarse, submasks, found.owner, features)
    last = last_layer(cascade, fused, found.tiles)
    predicted = predict(head, lower, last, coarse, found).to(composite) * windows(submasks, found.tiles, halo=0)
    background = composite * (labels == 0).unsqueeze(1)
    return add_tiles(background, predicted, found.tiles_of_images)


def last_layer(cascade: Cascade, fused: Tensor, tiles: "Tiles") -> Tensor:
    """DC_1 in some tiles and two pixels around, zero outside the image: (N, ., T + 4, T + 4).

    Args:
        cascade: whose last layer is run. In training it normalises by statistics of whole images, and so runs on them.
        fused: F_1, (P, ., H / 2, W / 2).
        tiles: N of them.
    """
    layer = cascade.decoder[0]
    if cascade.training and cascade.norm == "batch":
        return windows(layer(fused), tiles, halo=2)
    decoded = layer(windows(fused, tiles, halo=2, tile=TILE // 2))[..., 2:-2, 2:-2]
    within: Tensor = decoded * inside(tiles, 2, (2 * fused.shape[2], 2 * fused.shape[3]))
    return within


def predict(head: FusionHead, lower: Sequence[Tensor], last: Tensor, coarse: Tensor, found: "Found") -> Tensor:
    """What the head predicts in some tiles: (N, 3, T, T), RGB in [0, 1], not clamped.

    Args:
        head: predicts.
        lower: DC_7 ... DC_2 of all pairs.
        last: DC_1 in the tiles and two pixels around, as of :func:`last_layer`.
        coarse: (B, 3, H, W).
        found: pairs and tiles.
    """
    size, lower = (coarse.shape[2], coarse.shape[3]), lower if head.fusion else []
    *weights, of_last = torch.split(head.conv1.weight, [one.shape[1] for one in (*lower, last)], dim=1)
    x = F.conv2d(last, of_last, head.conv1.bias)
    for feature, weight in zip(lower, weights, strict=True):
        x = x + convolve_upsampled(feature, weight, found.tiles, size)
    x = head.activation(x) * inside(found.tiles, 1, size)  # conv2 pads with zeros
    x = head.activation(F.conv2d(x, head.conv2.weight, head.conv2.bias))
    image: Tensor = head.output(x, windows(coarse, found.tiles_of_images, halo=0))
    return image


class Tiles(NamedTuple):
    """Places of N tiles, each (N,)."""

    pair: Tensor
    row: Tensor
    """Counted in tiles."""
    column: Tensor


class Found(NamedTuple):
    """The P pairs of a batch and the tiles that their submasks touch."""

    owner: Tensor
    """(P,), the image of each pair."""
    label: Tensor
    """(P,), its label there."""
    tiles: Tiles

    @property
    def tiles_of_images(self) -> Tiles:
        """The same places, in the pairs' images."""
        return self.tiles._replace(pair=self.owner[self.tiles.pair])


def find(labels: Tensor, device: torch.device) -> Found:
    """Lists pairs and tiles, pair by pair.

    It works where the labels are, and sends what it finds to the device: what it finds has a length, for which a GPU would
    have to be waited for.

    Args:
        labels: (B, H, W), integers from 0 to 255: 0 = background.
        device: of the result.
    """
    count, height, width = labels.shape
    blocks = labels.view(count, height // TILE, TILE, width // TILE, TILE).permute(0, 1, 3, 2, 4).flatten(3).long()
    touched = torch.zeros(*blocks.shape[:3], 256, dtype=torch.bool, device=labels.device).scatter_(3, blocks, True)
    touched = touched[..., 1:].permute(0, 3, 1, 2)  # (B, 255, H / T, W / T)
    present = touched.flatten(2).any(dim=2)
    owner, label = present.nonzero(as_tuple=True)
    image, bearing, row, column = touched.nonzero(as_tuple=True)
    pair = (present.flatten().cumsum(0) - 1)[image * 255 + bearing]
    owner, label, pair, row, column = (send(index, device) for index in (owner, label + 1, pair, row, column))
    return Found(owner, label, Tiles(pair, row, column))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; on its way from the CPU to a GPU nothing waits."""
    if tensor.device == device or not is_pinnable(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Strips(NamedTuple):
    """One dimension of bilinear upsampling, cut into the strips of T + 2 upsampled pixels that a 3x3 convolution reads from."""

    first: Tensor
    """(size / T,), the first of the ``taps`` low-resolution pixels that a strip depends on."""
    weight: Tensor
    """(size / T, T + 2, 3, taps): pixel r of a strip, displaced by t - 1, from those pixels. Zero outside the image."""


def windows(features: Tensor, tiles: Tiles, halo: int, tile: int = TILE) -> Tensor:
    """Cuts tiles and ``halo`` pixels around them out of features (P, C, H, W); zero outside the image.

    Args:
        features: at full size, or at a lower resolution at which a tile has ``tile`` pixels a side.
        tiles: N of them.
        halo: pixels around, at the features' resolution.
        tile: a tile's side, at the features' resolution.

    Returns:
        (N, C, tile + 2 halo, tile + 2 halo), channels last in memory.
    """
    height, width = features.shape[-2:]
    rows, columns = (_positions(at, halo, tile) for at in (tiles.row, tiles.column))
    cut = _gather(features, tiles.pair, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return cut.permute(0, 3, 1, 2) * inside(tiles, halo, (height, width), tile)


def inside(tiles: Tiles, halo: int, size: tuple[int, int], tile: int = TILE) -> Tensor:
    """Which pixels of :func:`windows` lie in the image of height and width ``size``: (N, 1, ., .), boolean."""
    rows, columns = (_positions(at, halo, tile) for at in (tiles.row, tiles.column))
    valid_rows, valid_columns = ((at >= 0) & (at < limit) for at, limit in zip((rows, columns), size, strict=True))
    return (valid_rows[:, :, None] & valid_columns[:, None, :]).unsqueeze(1)


def _positions(at: Tensor, halo: int, tile: int) -> Tensor:
    """Rows or columns of windows, (N, tile + 2 halo), from those of their tiles."""
    return at[:, None] * tile + torch.arange(-halo, tile + halo, device=at.device)


def convolve_upsampled(features: Tensor, weight: Tensor, tiles: Tiles, size: tuple[int, int]) -> Tensor:
    """What a 3x3 convolution gives, in tiles and one pixel around, on features upsampled bilinearly to full size.

    Both are linear, and bilinear weights are a product of one for rows and one for columns. So the channels are mixed first,
    for each of the nine taps at the features' own resolution, and each tap's map is then upsampled where it is needed, along
    rows and along columns.

    Args:
        features: (P, C, h, w).
        weight: (D, C, 3, 3), of the convolution; its padding is zero.
        tiles: where.
        size: (H, W), full size.

    Returns:
        (N, D, T + 2, T + 2), without bias; channels last in memory.
    """
    rows, columns = (
        strips(low, full, features.dtype, features.device) for low, full in zip(features.shape[2:], size, strict=True)
    )
    count, out, taps_y, taps_x = tiles.pair.shape[0], weight.shape[0], rows.weight.shape[-1], columns.weight.shape[-1]
    at_rows = rows.first[tiles.row][:, None] + torch.arange(taps_y, device=features.device)
    at_columns = columns.first[tiles.column][:, None] + torch.arange(taps_x, device=features.device)
    patch = _gather(features, tiles.pair, at_rows, at_columns)  # (N, taps_y, taps_x, C)
    mixed = patch @ weight.permute(1, 3, 2, 0).reshape(weight.shape[1], -1)  # ... of each displacement x, y, and D
    mixed = mixed.view(count, taps_y, taps_x, 3, 3, out).permute(0, 4, 1, 2, 3, 5)
    down = rows.weight[tiles.row].flatten(2) @ mixed.reshape(count, 3 * taps_y, taps_x * 3 * out)
    along = columns.weight[tiles.column].transpose(2, 3).flatten(2).unsqueeze(1)
    return (along @ down.view(count, TILE + 2, taps_x * 3, out)).permute(0, 3, 1, 2)


def add_tiles(image: Tensor, tiled: Tensor, tiles: Tiles) -> Tensor:
    """Adds tiles (N, C, T, T) to images (B, C, H, W) at their places; ``tiles.pair`` counts images here."""
    batch, channels, height, width = image.shape
    down, across = height // TILE, width // TILE
    blocks = image.view(batch, channels, down, TILE, across, TILE).permute(0, 2, 4, 1, 3, 5)
    place = (tiles.pair * down + tiles.row) * across + tiles.column
    blocks = blocks.reshape(-1, channels, TILE, TILE).index_add(0, place, tiled)
    blocks = blocks.view(batch, down, across, channels, TILE, TILE).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(image.shape)


@lru_cache(maxsize=64)
def strips(low: int, size: int, dtype: torch.dtype, device: torch.device) -> Strips:
    """Upsampling from ``low`` to ``size`` pixels, as :func:`torch.nn.functional.interpolate` does it, cut into strips."""
    matrix = F.interpolate(torch.eye(low, dtype=torch.float64).unsqueeze(1), size=size, mode="linear").squeeze(1).T
    matrix = F.pad(matrix, (0, 0, 2, 2))  # (size + 4, low), zero where the convolution pads
    count = size // TILE
    start = torch.arange(count) * TILE
    reach = torch.stack([matrix[first : first + TILE + 4].abs().sum(0) for first in start.tolist()]) > 0  # (count, low)
    taps = int(reach.sum(1).max())
    first = reach.int().argmax(1).clamp(max=low - taps)
    rows = start[:, None, None] + torch.arange(TILE + 2)[:, None] + torch.arange(3)  # (count, T + 2, 3)
    columns = first[:, None] + torch.arange(taps)
    weight = matrix[rows[..., None], columns[:, None, None, :]]
    return Strips(first.to(device), weight.to(dtype).to(device))  # in this order, for Apple's GPUs have no float64


def _gather(features: Tensor, pair: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Features (P, C, h, w) of each tile's pair at its rows (N, R) and columns (N, S): (N, R, S, C)."""
    channels, height, width = features.shape[1:]
    index = (pair[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
    flat = features.permute(0, 2, 3, 1).reshape(-1, channels)
    return flat.index_select(0, index.flatten()).view(*index.shape, channels)
