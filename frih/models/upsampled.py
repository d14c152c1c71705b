"""What a 3x3 convolution makes of features that are upsampled to full size, in tiles, without upsampling all of them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from frih.models.tiles import TILE, Tiles, within


def upsample_windows(cut: Tensor, tiles: Tiles, halo: int, scale: int, size: tuple[int, int]) -> Tensor:
    """Bilinear upsampling of windows to full size: tiles and two pixels around, zero outside the image.

    Args:
        cut: (N, C, T / scale + 2 halo, .), zero outside the image (:func:`frih.models.tiles.windows`).
        tiles: N of them.
        halo: 2 at half the resolution, 1 at others: so far reach the pixels from which two more around are interpolated.
        scale: the factor.
        size: (H, W), full size.

    Returns:
        (N, C, T + 4, T + 4).
    """
    kind = torch.promote_types(cut.dtype, torch.float32)
    matrix = _upsampling(cut.shape[2], scale, halo, kind, cut.device)  # the same for rows and columns
    rows, columns = (
        _shares(at, full, scale, halo, matrix) for at, full in zip((tiles.row, tiles.column), size, strict=True)
    )
    shares = (rows[:, :, None] * columns[:, None, :]).unsqueeze(1)
    return _both_ways(cut, matrix.to(cut.dtype)) * shares.to(cut.dtype)


def _shares(at: Tensor, full: int, scale: int, halo: int, matrix: Tensor) -> Tensor:
    """By what rows or columns of upsampled windows are multiplied: (N, T + 4).

    0 outside the image. At its border a resized image continues its last pixel, as if that had all of the weight; so what is
    left of a weight there counts as 1.
    """
    inside = within(at, halo, full // scale, TILE // scale).to(matrix)
    weights = (inside[:, None, :] * matrix).sum(dim=2)  # no product of matrices, which autocast would round
    return within(at, 2, full) / weights.clamp(min=0.5)


def _both_ways(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiplies rows and columns: (N, C, s, s) and (r, s) to (N, C, r, r), channels last in memory."""
    count, channels, side, _ = x.shape
    down = matrix @ x.permute(0, 2, 3, 1).reshape(count, side, side * channels)
    return (matrix @ down.view(count, matrix.shape[0], side, channels)).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _upsampling(side: int, scale: int, halo: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Bilinear upsampling of ``side`` pixels, ``halo`` of them around a tile at each end: (T + 4, side)."""
    around = halo * scale - 2
    with torch.inference_mode(False):  # it may be kept for a gradient later
        matrix = F.interpolate(torch.eye(side).unsqueeze(1), scale_factor=float(scale), mode="linear").squeeze(1).T
        return matrix[around : side * scale - around].to(dtype).to(device)


def convolve_upsampled(
    layers: Sequence[Tensor], weights: Sequence[Tensor], tiles: Tiles, size: tuple[int, int]
) -> Tensor:
    """What a 3x3 convolution gives, in tiles and one pixel around, on layers upsampled bilinearly to full size.

    Both are linear, and bilinear weights are a product of one for rows and one for columns. So the channels are mixed first,
    for each of the nine taps at a layer's own resolution, and each tap's map is then upsampled where it is needed, along rows
    and along columns.

    Args:
        layers: each (P, C, h, w), for its own C, h and w.
        weights: for each (D, C, 3, 3), of the convolution; its padding is zero.
        tiles: N of them.
        size: (H, W), full size.

    Returns:
        (N, D, T + 2, T + 2), without bias; channels last in memory.
    """
    parts, along = [], []
    for features, weight in zip(layers, weights, strict=True):
        rows, columns = (
            strips(low, full, features.dtype, features.device)
            for low, full in zip(features.shape[2:], size, strict=True)
        )
        parts.append(_down(features, weight, tiles, rows, columns))
        along.append(columns.weight[tiles.column].transpose(2, 3).flatten(2))
    every, matrix = torch.cat(parts, dim=2), torch.cat(along, dim=2)
    return (matrix.unsqueeze(1) @ every).permute(0, 3, 1, 2)


def _down(features: Tensor, weight: Tensor, tiles: Tiles, rows: "Strips", columns: "Strips") -> Tensor:
    """Mixes channels and upsamples along rows: (N, T + 2, taps of columns x 3, D)."""
    channels, height, width = features.shape[1:]
    device, out, taps = features.device, weight.shape[0], columns.weight.shape[-1]
    flat = features.permute(0, 2, 3, 1).reshape(-1, channels)
    at = (
        tiles.pair[:, None] * height
        + rows.first[tiles.row][:, None]
        + torch.arange(rows.weight.shape[-1], device=device)
    )
    across = columns.first[tiles.column][:, None] + torch.arange(taps, device=device)
    pixels = at[:, :, None] * width + across[:, None, :]  # (N, taps of rows, taps of columns)
    if not torch.compiler.is_compiling() and pixels.numel() < len(
        flat
    ):  # a layer of many pixels, of which few are read
        flat = flat.index_select(0, pixels.flatten())
        pixels = torch.arange(len(flat), device=device).view(pixels.shape)
    mixed = (flat @ weight.permute(1, 2, 3, 0).reshape(channels, -1)).view(
        -1, 3 * out
    )  # of each pixel, for each row of taps
    index = pixels[:, None] * 3 + torch.arange(3, device=device)[:, None, None]
    patch = mixed.index_select(0, index.flatten()).view(pixels.shape[0], 3 * at.shape[1], taps * 3 * out)
    down = rows.weight[tiles.row].flatten(2) @ patch
    return down.view(pixels.shape[0], TILE + 2, taps * 3, out)


class Strips(NamedTuple):
    """One dimension of bilinear upsampling, cut into the strips of T + 2 upsampled pixels that a 3x3 convolution reads from."""

    first: Tensor
    """(size / T,), the first of the ``taps`` low-resolution pixels that a strip depends on."""
    weight: Tensor
    """(size / T, T + 2, 3, taps): pixel r of a strip, displaced by t - 1, from those pixels. Zero outside the image."""


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
