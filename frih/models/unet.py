"""Stage one: the base network, a U-Net whose prediction is blended with the composite, or added to it.

It follows iDIH's network (Sofiiuk et al., WACV 2021), which FRIH's "simple U-Net alike network" resembles in everything the
paper states: seven 4x4 convolutions down to 2x2, seven deconvolutions back up, and a skip between layers of the same size.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from frih.models.elu import ELU
from frih.models.norm import BatchNorm
from frih.models.output import ColorSpace, Output, initialize
from frih.models.scaling import Down, Up


class BaseNetwork(nn.Module):
    """Composite and mask to the coarse image.

    Normalisation starts at the third encoder layer; the decoder has it throughout, and adds (not concatenates) its skips.

    Args:
        widths: channels C_1 ... C_7 of the encoder; the decoder mirrors them.
        decoder_width: channels of the decoder's last layer, from which the image is predicted.
        norm: ``"batch"`` or ``"none"``.
        residual: predict a change that is added to the composite, instead of an image that is blended with it.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        decoder_width: int,
        norm: str = "batch",
        residual: bool = True,
    ) -> None:
        super().__init__()
        norms = ["none", "none", *[norm] * (len(widths) - 2)]
        self.encoder = nn.ModuleList(
            down_layer(fan_in, fan_out, norm)
            for fan_in, fan_out, norm in zip((4, *widths[:-1]), widths, norms, strict=True)
        )
        decoder_widths = (*reversed(widths), decoder_width)
        self.decoder = nn.ModuleList(up_layer(fan_in, fan_out, norm) for fan_in, fan_out in pairwise(decoder_widths))
        self.output = Output(decoder_width, "add" if residual else "blend")
        self.color_space = ColorSpace()
        initialize(self)
        if residual:
            nn.init.zeros_(self.output.to_rgb.weight)  # at first no change

    def forward(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Predicts the coarse image.

        Args:
            composite: (B, 3, H, W), RGB in [0, 1].
            mask: (B, 1, H, W), 1 = foreground.

        Returns:
            The coarse image (B, 3, H, W), and the encoder's features E_1 ... E_7, E_i of shape (B, C_i, H / 2^i, W / 2^i).
        """
        x = torch.cat([self.color_space.normalize(composite), mask], dim=1)
        features: list[Tensor] = []
        for layer in self.encoder:
            x = layer(x)
            features.append(x)
        for layer, skip in zip(self.decoder, [*features[-2::-1], None], strict=True):
            x = layer(x)
            if skip is not None:
                x = x + skip
        return self.output(x, composite), features


def down_layer(fan_in: int, fan_out: int, norm: str) -> nn.Sequential:
    """A 4x4 convolution that halves height and width: (N, fan_in, h, w) to (N, fan_out, h / 2, w / 2)."""
    return _layer(Down(fan_in, fan_out, bias=norm == "none"), fan_out, norm)


def up_layer(fan_in: int, fan_out: int, norm: str) -> nn.Sequential:
    """A 4x4 transposed convolution that doubles height and width: (N, fan_in, h, w) to (N, fan_out, 2 h, 2 w)."""
    return _layer(Up(fan_in, fan_out, bias=norm == "none"), fan_out, norm)


def _layer(convolution: nn.Module, width: int, norm: str) -> nn.Sequential:
    normalization = {"batch": [BatchNorm(width)], "none": []}[norm]
    return nn.Sequential(convolution, *normalization, ELU())
