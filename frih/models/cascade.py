"""Stage two: the lightweight cascaded module, which harmonizes one submask of the coarse image at a time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frih.models.output import ColorSpace, initialize
from frih.models.unet import down_layer, up_layer


class Cascade(nn.Module):
    """The cascaded U-Net of the paper's figure 2, by its equations 3 to 5.

    Each pair of a coarse image and one of its submasks goes through seven 4x4 convolutions (features EC_i). On the way
    back, each decoder layer fuses three sources at the scale of encoder layer i, from the deepest (i = 7) to the first::

        ET_i = Conv_trans(E_i)                          (3)   E_i: encoder layer i of the base network
        F_i  = Conv_fuse([DC_{previous}, ET_i, EC_i])   (4)   the deepest layer has no previous one
        DC_i = Conv_up(F_i)                             (5)

    Args:
        base_widths: channels of the base encoder's E_1 ... E_7.
        widths: channels of EC_1 ... EC_7; ET_i and F_i have those of EC_i, DC_i those of EC_{i-1}, DC_1 those of EC_1.
        norm: ``"batch"`` or ``"none"``, in encoder and decoder; transfers and fuse convolutions have none.
    """

    def __init__(
        self,
        *,
        base_widths: Sequence[int],
        widths: Sequence[int],
        norm: str = "batch",
    ) -> None:
        super().__init__()
        outs = (widths[0], *widths[:-1])  # of the decoder layers DC_1 ... DC_7
        previous = (*outs[1:], 0)  # what they take from the layer before
        self.encoder = nn.ModuleList(
            down_layer(fan_in, fan_out, norm) for fan_in, fan_out in zip((4, *widths[:-1]), widths, strict=True)
        )
        self.transfers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(base, own, 3, padding=1),
                nn.ELU(inplace=True),
                nn.Conv2d(own, own, 3, padding=1),
                nn.ELU(inplace=True),
            )
            for base, own in zip(base_widths, widths, strict=True)
        )
        self.fuses = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before + 2 * own, own, 1), nn.ELU(inplace=True))
            for before, own in zip(previous, widths, strict=True)
        )
        self.decoder = nn.ModuleList(up_layer(own, out, norm) for own, out in zip(widths, outs, strict=True))
        self.norm = norm
        self.color_space = ColorSpace()
        self.decoder_widths = tuple(reversed(outs))
        initialize(self)

    def forward(self, coarse: Tensor, submasks: Tensor, owner: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """Decodes every pair.

        Args:
            coarse: (B, 3, H, W), the base network's images.
            submasks: (P, 1, H, W), one submask a pair, 1 inside. P may be 0.
            owner: (P,), the index in the batch of the image that each submask belongs to.
            features: E_1 ... E_7 of the base encoder, (B, C_i, H / 2^i, W / 2^i).

        Returns:
            DC_7, DC_6 ... DC_1, of ``decoder_widths`` channels, the last at full size: (P, ., H / 2^(i-1), W / 2^(i-1)).
        """
        lower, fused = self.decode(coarse, submasks, owner, features)
        return [*lower, self.decoder[0](fused)]

    def decode(
        self, coarse: Tensor, submasks: Tensor, owner: Tensor, features: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """All but the last layer: DC_7 ... DC_2, and F_1, of which the last layer makes DC_1."""
        x = torch.cat([self.color_space.normalize(coarse)[owner], submasks], dim=1)
        encoded: list[Tensor] = []  # EC_1 ... EC_7
        for layer in self.encoder:
            x = layer(x)
            encoded.append(x)
        transferred = [transfer(feature)[owner] for transfer, feature in zip(self.transfers, features, strict=True)]
        decoded: list[Tensor] = []
        for i in reversed(range(len(encoded))):
            fused: Tensor = self.fuses[i](torch.cat([*decoded[-1:], transferred[i], encoded[i]], dim=1))
            if i > 0:
                decoded.append(self.decoder[i](fused))
        return decoded, fused
