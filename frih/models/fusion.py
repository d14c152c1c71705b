"""The fusion prediction module: one image from all cascaded decoder layers (the paper's figure 4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frih.models.output import Kind, Output, initialize
from frih.models.tiles import Tiles, convolve_upsampled, inside, of_images, windows

HEAD_WIDTH = 32


class FusionHead(nn.Module):
    """Upsamples decoder features to full size, concatenates them, and predicts RGB by two 3x3 and one 1x1 convolution.

    Without fusion the same head takes the last decoder layer alone. It has no normalisation: what it predicts at a pixel
    depends on the features within two pixels of it and on nothing else, so a pair needs it only inside its own submask.

    Args:
        in_widths: channels of the decoder layers it fuses.
        width: channels of its two 3x3 convolutions.
        output: how an image is made of the prediction; see :class:`~frih.models.output.Output`.
    """

    def __init__(self, in_widths: Sequence[int], *, width: int = HEAD_WIDTH, output: Kind = "plain") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(sum(in_widths), width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.output = Output(width, output)
        self.activation = nn.ELU(inplace=True)
        initialize(self)

    def forward(self, decoded: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Predicts each pair's image.

        Args:
            decoded: decoder layers, coarsest first, (P, in_widths[j], h_j, w_j); the last at full size, (P, ., H, W).
            coarse: (P, 3, H, W), each pair's coarse image; not read by a plain output.

        Returns:
            (P, 3, H, W), RGB in [0, 1], not clamped.
        """
        size = decoded[-1].shape[-2:]
        x = torch.cat([upsample(feature, size) for feature in decoded], dim=1)
        x = self.activation(self.conv1(x))
        x = self.activation(self.conv2(x))
        image: Tensor = self.output(x, coarse)
        return image

    def in_tiles(self, lower: Sequence[Tensor], last: Tensor, coarse: Tensor, owner: Tensor, tiles: Tiles) -> Tensor:
        """Predicts the pixels of some tiles alone: :meth:`forward` there, but for rounding.

        Args:
            lower: decoder layers below full size, as for :meth:`forward`.
            last: windows of the last one, two pixels around each tile: (N, ., T + 4, T + 4), zero outside the image.
            coarse: (B, 3, H, W), the batch's coarse images; not read by a plain output.
            owner: (P,), the image of each pair.
            tiles: N of them.

        Returns:
            (N, 3, T, T), RGB in [0, 1], not clamped.
        """
        size = (coarse.shape[2], coarse.shape[3])
        *weights, of_last = torch.split(self.conv1.weight, [one.shape[1] for one in (*lower, last)], dim=1)
        x = F.conv2d(last, of_last, self.conv1.bias)
        for feature, weight in zip(lower, weights, strict=True):
            x = x + convolve_upsampled(feature, weight, tiles, size)
        x = self.activation(x) * inside(tiles, 1, size)  # conv2 pads with zeros
        x = self.activation(F.conv2d(x, self.conv2.weight, self.conv2.bias))
        given = None if self.output.kind == "plain" else windows(coarse, of_images(tiles, owner), halo=0)
        image: Tensor = self.output(x, given)
        return image


def upsample(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, (P, C, h, w) to (P, C, H, W), pixel centres aligned as in a resized image."""
    return F.interpolate(feature, size=tuple(size), mode="bilinear", align_corners=False)
