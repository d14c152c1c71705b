"""The fusion prediction module: one image from all cascaded decoder layers (the paper's figure 4)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frih.models.elu import ELU
from frih.models.output import Output, initialize


class FusionHead(nn.Module):
    """Upsamples decoder features to full size, concatenates them, and predicts RGB by two 3x3 and one 1x1 convolution.

    Without fusion the same head takes the last decoder layer alone. It has no normalisation: what it predicts at a pixel
    depends on the features within two pixels of it and on nothing else, so a pair needs it only inside its own submask.

    Its last layer does not start from zero, though it predicts a change. From zero, the gradient of all layers before it is
    tiny; Adam makes full steps of that, which drive the head's features into saturation before they mean anything
    (docs/experiments.md, 10).

    Args:
        decoder_widths: channels of the decoder layers, coarsest first.
        fusion: predict from all of them; otherwise from the last.
        width: channels of its two 3x3 convolutions.
        residual: predict a change that is added to the coarse image; otherwise the image itself.
    """

    def __init__(
        self, decoder_widths: Sequence[int], *, width: int, fusion: bool = True, residual: bool = True
    ) -> None:
        super().__init__()
        self.fusion = fusion
        in_widths = decoder_widths if fusion else decoder_widths[-1:]
        self.conv1 = nn.Conv2d(sum(in_widths), width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.output = Output(width, "add" if residual else "plain")
        self.activation = ELU()
        initialize(self)

    def forward(self, decoded: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Predicts each pair's image.

        Args:
            decoded: DC_7 ... DC_1, (P, decoder_widths[j], h_j, w_j), the last at full size.
            coarse: (P, 3, H, W), each pair's coarse image.

        Returns:
            (P, 3, H, W), RGB in [0, 1], not clamped.
        """
        size = decoded[-1].shape[-2:]
        x = torch.cat([upsample(feature, size) for feature in (decoded if self.fusion else decoded[-1:])], dim=1)
        x = self.activation(self.conv1(x))
        x = self.activation(self.conv2(x))
        image: Tensor = self.output(x, coarse)
        return image


def upsample(feature: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, (P, C, h, w) to (P, C, H, W), pixel centres aligned as in a resized image."""
    return F.interpolate(feature, size=tuple(size), mode="bilinear", align_corners=False)
