"""The square tiles that the submasks of a batch touch, and features cut to them.

Shapes: N tiles of T x T pixels among those of all P pairs of an image and one of its submasks.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from frih.common.devices import is_pinnable

TILE = 16
"""T, the side of a tile in pixels: smaller ones fit the submasks more closely but overlap more in what lies around them."""

_WORD = 16
"""Labels that are looked for at once, one a bit."""
_MOST = 2
"""More than one in so many tiles are most."""


class Tiles(NamedTuple):
    """Places of N tiles, each (N,)."""

    pair: Tensor
    row: Tensor
    """Counted in tiles."""
    column: Tensor

    def to(self, device: torch.device) -> "Tiles":
        """These tiles on a device."""
        return Tiles(*(send(index, device) for index in self))


class Found(NamedTuple):
    """The P pairs of a batch and the tiles that their submasks touch."""

    owner: Tensor
    """(P,), the image of each pair."""
    label: Tensor
    """(P,), its label there."""
    tiles: Tiles
    near: Tiles | None
    """The tiles and their neighbours; None if they are most of all pairs' tiles, or while a network is exported."""

    def of_images(self, tiles: Tiles) -> Tiles:
        """The same places, in the pairs' images."""
        return tiles._replace(pair=self.owner[tiles.pair])


def find(labels: Tensor, device: torch.device) -> Found:
    """Lists pairs and tiles, pair by pair.

    It works on the CPU, where the labels should be, and sends what it finds to the device: what it finds has a length, for
    which a GPU would have to be waited for.

    Args:
        labels: (B, H, W) uint8, 0 = background.
        device: of the result.
    """
    exporting = torch.compiler.is_compiling()
    touched = touched_by_scattering(labels) if exporting else _touched(labels)
    present = touched.flatten(2).any(dim=2)
    owner, label = present.nonzero(as_tuple=True)
    touched = touched[owner, label]  # (P, H / T, W / T)
    tiles = Tiles(*touched.nonzero(as_tuple=True))
    near = None if exporting else _near(touched)
    owner, label = send(owner, device), send(label + 1, device)
    return Found(owner, label, tiles.to(device), near and near.to(device))


def _near(touched: Tensor) -> Tiles | None:
    """The tiles that are touched, and those beside them, unless they are most."""
    beside = F.pad(touched, (1, 1, 1, 1))
    beside = beside[:, :-2] | beside[:, 1:-1] | beside[:, 2:]
    beside = beside[:, :, :-2] | beside[:, :, 1:-1] | beside[:, :, 2:]
    near = Tiles(*beside.nonzero(as_tuple=True))
    return near if _MOST * len(near.pair) < touched.numel() else None


def _touched(labels: Tensor) -> Tensor:
    """Which labels from 1 to some number each tile holds: (B, ., H / T, W / T), boolean, on the CPU.

    Labels become bits of 16-bit words, and the words of a tile are joined, many pixels an instruction.
    """
    numbers = labels.cpu().numpy().astype(np.uint16, order="C")
    count, height, width = numbers.shape
    found = []
    for first in range(1, max(1, int(numbers.max(initial=0))) + 1, _WORD):
        bits = np.left_shift(np.uint16(1), numbers - np.uint16(first))  # none of labels that wrap around or lie above
        rows = np.bitwise_or.reduce(bits.reshape(count, height // TILE, TILE, width), axis=2)
        words = np.bitwise_or.reduce(rows.view(np.uint64).reshape(*rows.shape[:2], width // TILE, TILE // 4), axis=3)
        words |= words >> np.uint64(32)
        words |= words >> np.uint64(16)
        found.append(words[:, None] >> np.arange(_WORD, dtype=np.uint64)[:, None, None] & np.uint64(1))
    return torch.from_numpy(np.concatenate(found, axis=1).astype(bool))


def touched_by_scattering(labels: Tensor) -> Tensor:
    """The same for all of 255 labels, by operators that can be exported."""
    count, height, width = labels.shape
    blocks = labels.view(count, height // TILE, TILE, width // TILE, TILE).permute(0, 1, 3, 2, 4).flatten(3).long()
    touched = torch.zeros(*blocks.shape[:3], 256, dtype=torch.bool, device=labels.device).scatter_(3, blocks, True)
    return touched[..., 1:].permute(0, 3, 1, 2)


def submasks_of(labels: Tensor, owner: Tensor, label: Tensor) -> Tensor:
    """The pairs' submasks, (P, 1, H, W) boolean: of labels (B, H, W), each pair's image (P,), and its label there (P,)."""
    return (labels[owner] == label.view(-1, 1, 1)).unsqueeze(1)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; on its way from the CPU to a GPU nothing waits."""
    if tensor.device == device or not is_pinnable(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def windows(features: Tensor, tiles: Tiles, halo: int, tile: int = TILE, *, zero: bool = True) -> Tensor:
    """Cuts tiles and ``halo`` pixels around them out of features (P, C, H, W).

    Args:
        features: at full size, or at a lower resolution at which a tile has ``tile`` pixels a side.
        tiles: N of them.
        halo: pixels around, at the features' resolution.
        tile: a tile's side, at the features' resolution.
        zero: outside the image; otherwise anything finite is there.

    Returns:
        (N, C, tile + 2 halo, tile + 2 halo), channels last in memory.
    """
    size = features.shape[2], features.shape[3]
    index = pixels(size, tiles, halo, tile)
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    cut = flat.index_select(0, index.flatten()).view(*index.shape, flat.shape[1]).permute(0, 3, 1, 2)
    return cut * inside(tiles, halo, size, tile) if halo and zero else cut


def pixels(size: tuple[int, int], tiles: Tiles, halo: int, tile: int = TILE) -> Tensor:
    """The pixels of :func:`windows` among P h w, or the nearest to those outside the image: (N, tile + 2 halo, .)."""
    height, width = size
    rows, columns = (_positions(at, halo, tile) for at in (tiles.row, tiles.column))
    first = tiles.pair[:, None] * height + rows.clamp(0, height - 1)
    return first[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]


def inside(tiles: Tiles, halo: int, size: tuple[int, int], tile: int = TILE) -> Tensor:
    """Which pixels of :func:`windows` lie in the image of height and width ``size``: (N, 1, ., .), boolean."""
    rows, columns = within(tiles.row, halo, size[0], tile), within(tiles.column, halo, size[1], tile)
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def within(at: Tensor, halo: int, limit: int, tile: int = TILE) -> Tensor:
    """Which rows or columns of windows lie in an image of ``limit`` of them: (N, tile + 2 halo), boolean."""
    places = _positions(at, halo, tile)
    return (places >= 0) & (places < limit)


def _positions(at: Tensor, halo: int, tile: int) -> Tensor:
    """Rows or columns of windows, (N, tile + 2 halo), from those of their tiles."""
    return at[:, None] * tile + torch.arange(-halo, tile + halo, device=at.device)


def put(features: Tensor, cut: Tensor, tiles: Tiles) -> Tensor:
    """Puts tiles (N, C, tile, tile) into features (P, C, h, w), in place; both lie channels last in memory."""
    index = pixels((features.shape[2], features.shape[3]), tiles, halo=0, tile=cut.shape[2])
    flat = features.permute(0, 2, 3, 1).view(-1, features.shape[1])
    flat.index_copy_(0, index.flatten(), cut.permute(0, 2, 3, 1).reshape(-1, features.shape[1]))
    return features


def add_tiles(image: Tensor, tiled: Tensor, tiles: Tiles) -> Tensor:
    """Adds tiles (N, C, T, T) to images (B, C, H, W) at their places; ``tiles.pair`` counts images here."""
    batch, channels, height, width = image.shape
    down, across = height // TILE, width // TILE
    blocks = image.view(batch, channels, down, TILE, across, TILE).permute(0, 2, 4, 1, 3, 5)
    place = (tiles.pair * down + tiles.row) * across + tiles.column
    blocks = blocks.reshape(-1, channels, TILE, TILE).index_add(0, place, tiled)
    blocks = blocks.view(batch, down, across, channels, TILE, TILE).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(image.shape)
