"""Stage two in tiles: the same result as :func:`frih.models.frih.refine_literally` within rounding, at a fraction of the cost.

A pair's prediction is wanted inside its own submask alone, and the submasks of an image do not overlap. So the fusion head runs
only in the square tiles that a pair's submask touches, and the last decoder layers only there and a little around: all three at
32 pixels a side and above (of 256), unless batch normalisation needs statistics of whole images. What the pairs of an image
have in common is computed once an image. Shapes: N tiles of T x T pixels among those of all P pairs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from frih.models.cascade import Cascade
from frih.models.fusion import FusionHead
from frih.models.spread import spread
from frih.models.tiles import TILE, Found, Tiles, add_tiles, find, inside, put, send, submasks_of, windows
from frih.models.upsampled import convolve_upsampled, upsample_windows

WINDOWED = 3
"""Decoder layers that run in windows, the last ones."""
_HALO = 2
"""Pixels around a tile in a window, at every resolution: so far the two 3x3 convolutions of the head reach, and a transposed
convolution of 4x4 for them."""

_REACHED = 3
"""Encoder layers in which a submask changes nothing farther away than a tile."""


class Decoded(NamedTuple):
    """What the head reads."""

    coarse: list[Tensor]
    """DC_7 ... DC_{WINDOWED + 1} of all pairs, whole."""
    fine: list[Tensor]
    """DC_WINDOWED ... DC_1 in windows of tiles and _HALO pixels around, at their own resolution; zero outside the image."""


def refine_in_tiles(
    cascade: Cascade, head: FusionHead, composite: Tensor, labels: Tensor, coarse: Tensor, features: Sequence[Tensor]
) -> Tensor:
    """Arguments and result of :func:`frih.models.frih.refine_literally`."""
    found = find(labels, composite.device)
    labels = send(labels, composite.device)
    whole = cascade.training and cascade.norm == "batch"
    if whole or found.near is None:
        submasks = submasks_of(labels, found.owner, found.label).to(composite)
        encoded = cascade.encode(coarse, submasks, found.owner)
    else:
        encoded = encode_near(cascade, coarse, labels, found)
    decode = decode_whole if whole else decode_windows
    decoded = decode(cascade, encoded, cascade.share(features), found)
    predicted = predict(head, decoded, coarse, found).to(composite) * cut_submasks(labels, found, found.tiles)
    background = composite * (labels == 0).unsqueeze(1)
    return add_tiles(background, predicted, found.of_images(found.tiles))


def cut_submasks(labels: Tensor, found: Found, tiles: Tiles, halo: int = 0) -> Tensor:
    """The submasks in windows: (N, 1, T + 2 halo, T + 2 halo), boolean."""
    cut = windows(labels.unsqueeze(1), found.of_images(tiles), halo)
    return cut == found.label[tiles.pair].view(-1, 1, 1, 1)


def encode_near(cascade: Cascade, coarse: Tensor, labels: Tensor, found: Found) -> list[Tensor]:
    """Encodes all pairs, as :meth:`~frih.models.cascade.Cascade.encode`.

    EC_1, EC_2 and EC_3 depend on the submask less than a tile away. Elsewhere they are those of the image with an empty
    submask, which are encoded once an image. Batch normalisation must not need its statistics of them.
    """
    assert found.near is not None
    near, tile = found.near, TILE
    image = cascade.color_space.normalize(coarse)
    empty = torch.cat([image, torch.zeros_like(image[:, :1])], dim=1).contiguous(memory_format=torch.channels_last)
    cut = windows(empty, found.of_images(near), 1)
    cut = torch.cat([cut[:, :3], cut_submasks(labels, found, near, 1).to(cut)], dim=1)
    encoded: list[Tensor] = []
    layers: Any = cascade.encoder[:_REACHED]
    for layer in layers:
        tile //= 2
        empty = layer(empty)
        made = layer[1:](F.conv2d(cut, layer[0].weight, layer[0].bias, layer[0].stride))
        encoded.append(put(spread(empty, found.owner), made, near))
        cut = windows(encoded[-1], near, 1, tile)
    return [*encoded, *cascade.encode_on(encoded[-1], _REACHED)]


def decode_windows(cascade: Cascade, encoded: Sequence[Tensor], shared: Sequence[Tensor], found: Found) -> Decoded:
    """Decodes where the head reads.

    Args:
        cascade: has the layers.
        encoded: EC_1 ... EC_7 of all pairs.
        shared: of all images, as of :meth:`~frih.models.cascade.Cascade.share`.
        found: pairs and tiles.
    """
    coarse = cascade.decode(encoded, shared, found.owner, last=WINDOWED)
    tile, fine = TILE >> WINDOWED, []
    x = windows(coarse[-1], found.tiles, _HALO, tile, zero=False)
    for i in reversed(range(WINDOWED)):
        own = windows(encoded[i], found.tiles, _HALO, tile, zero=False)
        common = windows(shared[i], found.of_images(found.tiles), _HALO, tile, zero=False)
        height, width = encoded[i].shape[2:]
        fused = cascade.fuse(i, x, common, own) * inside(found.tiles, _HALO, (height, width), tile)
        tile *= 2
        x = cascade.decoder[i](fused)[..., _HALO:-_HALO, _HALO:-_HALO]
        x = x * inside(found.tiles, _HALO, (2 * height, 2 * width), tile)
        fine.append(x)
    return Decoded(coarse, fine)


def decode_whole(cascade: Cascade, encoded: Sequence[Tensor], shared: Sequence[Tensor], found: Found) -> Decoded:
    """The same, but the layers run on whole images, for their statistics; the last is normalised in windows alone."""
    *coarse, fused = cascade.decode(encoded, shared, found.owner, last=0)
    cut = len(coarse) - (WINDOWED - 1)
    coarse, rest = coarse[:cut], coarse[cut:]
    tiles = (TILE >> i for i in reversed(range(1, WINDOWED)))
    fine = [windows(layer, found.tiles, _HALO, tile) for layer, tile in zip(rest, tiles, strict=True)]
    layer: Any = cascade.decoder[0]
    convolution, norm, activation = layer
    whole = convolution(fused)
    last = activation(norm.of_windows(whole, found.tiles, _HALO)) * inside(found.tiles, _HALO, whole.shape[2:])
    return Decoded(coarse, [*fine, last])


def predict(head: FusionHead, decoded: Decoded, coarse: Tensor, found: Found) -> Tensor:
    """What the head predicts in some tiles: (N, 3, T, T), RGB in [0, 1], not clamped.

    Args:
        head: predicts.
        decoded: the decoder layers.
        coarse: (B, 3, H, W).
        found: pairs and tiles.
    """
    size = coarse.shape[2], coarse.shape[3]
    *fine, last = decoded.fine
    fine, low = (fine, decoded.coarse) if head.fusion else ([], [])
    scales = (1 << i for i in reversed(range(1, len(fine) + 1)))
    up = [_upsample(layer, found, scale, size) for layer, scale in zip(fine, scales, strict=True)]
    widths = [layer.shape[1] for layer in low]
    *weights, of_fine = torch.split(head.conv1.weight, [*widths, head.conv1.in_channels - sum(widths)], dim=1)
    x = F.conv2d(torch.cat([*up, last], dim=1), of_fine, head.conv1.bias)
    if low:
        x = x + convolve_upsampled(low, weights, found.tiles, size)
    x = head.activation(x) * inside(found.tiles, 1, size)  # conv2 pads with zeros
    x = head.activation(F.conv2d(x, head.conv2.weight, head.conv2.bias))
    image: Tensor = head.output(x, windows(coarse, found.of_images(found.tiles), halo=0))
    return image


def _upsample(layer: Tensor, found: Found, scale: int, size: tuple[int, int]) -> Tensor:
    """A fine layer at full size."""
    halo = 2 if scale == 2 else 1
    spare = _HALO - halo
    cut = layer[..., spare : layer.shape[2] - spare, spare : layer.shape[3] - spare]
    return upsample_windows(cut, found.tiles, halo, scale, size)
