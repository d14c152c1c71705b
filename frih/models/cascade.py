"""Stage two: the lightweight cascaded module, which harmonizes one submask of the coarse image at a time."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frih.models.elu import ELU
from frih.models.output import ColorSpace, initialize
from frih.models.spread import spread
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
                ELU(),
                nn.Conv2d(own, own, 3, padding=1),
                ELU(),
            )
            for base, own in zip(base_widths, widths, strict=True)
        )
        self.fuses = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before + 2 * own, own, 1), ELU())
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
        encoded, shared = self.encode(coarse, submasks, owner), self.share(features)
        *lower, fused = self.decode(encoded, shared, owner)
        return [*lower, self.decoder[0](fused)]

    def encode(self, coarse: Tensor, submasks: Tensor, owner: Tensor) -> list[Tensor]:
        """EC_1 ... EC_7 of all pairs."""
        first: Any = self.encoder[0]
        convolution = first[0]
        of_image, of_submask = torch.split(convolution.weight, [3, 1], dim=1)
        image = F.conv2d(self.color_space.normalize(coarse), of_image, convolution.bias, 2, 1)
        x = first[1:](F.conv2d(submasks, of_submask, None, 2, 1) + spread(image, owner))
        return [x, *self.encode_on(x, begun=1)]

    def encode_on(self, x: Tensor, begun: int = 0) -> list[Tensor]:
        """EC_{begun + 1} ... EC_7 from EC_begun."""
        encoded: list[Tensor] = []
        for layer in self.encoder[begun:]:
            x = layer(x)
            encoded.append(x)
        return encoded

    def share(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What the pairs of an image have in common in F_1 ... F_7 before the activation: (4) is linear in ET_i.

        Args:
            features: of the base encoder.

        Returns:
            The part of ET_i, with the bias: (B, ., H / 2^i, W / 2^i).
        """
        shared = []
        for i, (transfer, feature) in enumerate(zip(self.transfers, features, strict=True)):
            _, own, _ = self._fuse_weights(i)
            shared.append(F.conv2d(transfer(feature), own, self._fuse(i)[0].bias))
        return shared

    def fuse(self, i: int, previous: Tensor | None, shared: Tensor, encoded: Tensor) -> Tensor:
        """F_{i + 1} of (4).

        Args:
            i: counts from 0.
            previous: the decoder layer before; the deepest has none.
            shared: of :meth:`share`, for each pair; channels last in memory. It may be overwritten.
            encoded: EC_{i + 1}.
        """
        before, _, after = self._fuse_weights(i)
        if encoded.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            sums = _rows(shared)
            for part, weight in ((previous, before), (encoded, after)):
                if part is not None:
                    torch.addmm(sums, _rows(part).to(sums), weight.flatten(1).t().to(sums), out=sums)
            count, _, height, width = shared.shape
            added: Tensor = self._fuse(i)[1](sums.view(count, height, width, sums.shape[1]).permute(0, 3, 1, 2))
            return added
        if previous is not None:
            encoded, after = torch.cat([previous, encoded], dim=1), torch.cat([before, after], dim=1)
        fused: Tensor = self._fuse(i)[1](F.conv2d(encoded, after).add_(shared))
        return fused

    def decode(self, encoded: Sequence[Tensor], shared: Sequence[Tensor], owner: Tensor, last: int = 0) -> list[Tensor]:
        """Decodes whole images.

        Args:
            encoded: of :meth:`encode`.
            shared: of :meth:`share`.
            owner: as above.
            last: DC_last is the first layer that is left out; 0 stands for DC_1, before which F_1 is made.

        Returns:
            DC_7 ... DC_{last + 1}; or DC_7 ... DC_2 and F_1.
        """
        decoded: list[Tensor] = []
        for i in reversed(range(last, len(encoded))):
            fused = self.fuse(i, decoded[-1] if decoded else None, spread(shared[i], owner), encoded[i])
            decoded.append(self.decoder[i](fused) if i else fused)
        return decoded

    def _fuse(self, i: int) -> Any:
        """Convolution and activation."""
        return self.fuses[i]

    def _fuse_weights(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """The weights of F_{i + 1} for the layer before, ET and EC."""
        weight = self._fuse(i)[0].weight
        own = weight.shape[0]
        before, transferred, encoded = torch.split(weight, [weight.shape[1] - 2 * own, own, own], dim=1)
        return before, transferred, encoded


def _rows(x: Tensor) -> Tensor:
    """(N, C, h, w) to (N h w, C); a view if channels come last in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
