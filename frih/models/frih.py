"""FRIH: base network, cascade and fusion head put together."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frih.models.cascade import CASCADE_WIDTHS, Cascade
from frih.models.fusion import HEAD_WIDTH, FusionHead
from frih.models.output import Kind
from frih.models.tiles import add_tiles, of_images, touched, windows
from frih.models.unet import BASE_DECODER_WIDTH, BASE_WIDTHS, BaseNetwork


class Harmonized(NamedTuple):
    """What the network makes of a batch; RGB in [0, 1], not clamped."""

    coarse: Tensor
    """(B, 3, H, W), the base network's whole image."""
    refined: Tensor
    """(B, 3, H, W), the final image. With a cascade: its predictions inside the submasks, the composite outside."""


class FRIH(nn.Module):
    """The network of *FRIH: Fine-Grained Region-Aware Image Harmonization* (Peng et al., AAAI 2024).

    With its default arguments it is the paper's model of 11.98 M parameters; ``cascade=False`` makes the *Baseline* of
    Table 3, ``fusion=False`` the rows in between.

    Args:
        cascade: refine by the second stage; otherwise the coarse image is the final one.
        fusion: predict from all cascaded decoder layers; otherwise from the last one.
        residual: stages that predict a change, which is added to the image they are given: both (True), none (False),
            ``"base"`` or ``"cascade"``.
        refine_blend: mix the second stage's prediction with the coarse image by a blending layer.
        dense: evaluate the fusion head literally, at full size for every pair. The result is the same but for rounding, at many
            times the cost: the reference of the default, which works where a pair's submask is and nowhere else.
        end_to_end: let the second stage's gradient reach the base network.
        norm: ``"batch"`` or ``"none"``.
        base_widths: channels of the base encoder's seven layers.
        base_decoder_width: channels of the base decoder's last layer.
        cascade_widths: channels of the cascaded encoder's seven layers.
        head_width: channels of the fusion head's 3x3 convolutions.
    """

    def __init__(
        self,
        *,
        cascade: bool = True,
        fusion: bool = True,
        residual: bool | str = True,
        refine_blend: bool = False,
        dense: bool = False,
        end_to_end: bool = True,
        norm: str = "batch",
        base_widths: Sequence[int] = BASE_WIDTHS,
        base_decoder_width: int = BASE_DECODER_WIDTH,
        cascade_widths: Sequence[int] = CASCADE_WIDTHS,
        head_width: int = HEAD_WIDTH,
    ) -> None:
        super().__init__()
        self.dense = dense
        self.end_to_end = end_to_end
        self.base = BaseNetwork(
            widths=base_widths, decoder_width=base_decoder_width, norm=norm, residual=residual in (True, "base")
        )
        self.cascade: Cascade | None = None
        self.head: FusionHead | None = None
        self.fusion = fusion
        if cascade:
            self.cascade = Cascade(base_widths=base_widths, widths=cascade_widths, norm=norm)
            output: Kind = "add" if residual in (True, "cascade") else "blend" if refine_blend else "plain"
            in_widths = self.cascade.decoder_widths if fusion else self.cascade.decoder_widths[-1:]
            self.head = FusionHead(in_widths, width=head_width, output=output)
        self.to(memory_format=torch.channels_last)  # a layout, not another computation; faster on CPUs and tensor cores

    def forward(self, composite: Tensor, mask: Tensor, labels: Tensor) -> Harmonized:
        """Harmonizes a batch.

        Args:
            composite: (B, 3, H, W), RGB in [0, 1]; H and W divisible by 128.
            mask: (B, 1, H, W), 1 = foreground, 0 = background.
            labels: (B, H, W), integers: 0 = background, k = submask k. Not read without a cascade.

        Returns:
            The coarse and the refined images, of the composite's precision.

        Raises:
            ValueError: the shapes do not fit each other, or the network.
        """
        _check_shapes(composite, mask, labels)
        coarse, features = self.base(composite, mask)
        coarse = coarse.to(composite)
        if self.cascade is None or self.head is None:
            return Harmonized(coarse, coarse)
        given = coarse
        if not self.end_to_end:
            given, features = coarse.detach(), [feature.detach() for feature in features]
        owner, submasks = pairs(labels)
        submasks = submasks.to(composite)
        refined = composite * (labels == 0).unsqueeze(1)
        if self.dense:
            decoded = self.cascade(given, submasks, owner, features)
            predicted = self.head(decoded if self.fusion else decoded[-1:], given[owner]).to(composite)
            return Harmonized(coarse, refined.index_add(0, owner, predicted * submasks))
        tiles = touched(submasks)
        whole = self.cascade.takes_statistics
        *lower, last = self.cascade(given, submasks, owner, features, last=whole)
        last = windows(last, tiles, halo=2) if whole else self.cascade.last_in_tiles(last, tiles)
        predicted = self.head.in_tiles(lower if self.fusion else [], last, given, owner, tiles).to(composite)
        predicted = predicted * windows(submasks, tiles, halo=0)
        return Harmonized(coarse, add_tiles(refined, predicted, of_images(tiles, owner)))


def _check_shapes(composite: Tensor, mask: Tensor, labels: Tensor) -> None:
    images, channels, height, width = composite.shape if composite.dim() == 4 else (0, 0, 0, 0)
    if channels != 3 or height % 128 or width % 128:
        raise ValueError(f"composite: must be (B, 3, H, W), H and W divisible by 128, not {tuple(composite.shape)}")
    if mask.shape != (images, 1, height, width) or labels.shape != (images, height, width):
        shapes = f"{(images, 1, height, width)} and {(images, height, width)}"
        raise ValueError(f"mask and labels: must be {shapes}, not {tuple(mask.shape)} and {tuple(labels.shape)}")


def pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Lists the submasks of a batch, image by image and in the order of their labels.

    Args:
        labels: (B, H, W), integers from 0 to 255: 0 = background.

    Returns:
        owner: (P,), the image each submask belongs to.
        submasks: (P, 1, H, W), boolean. Labels that no pixel bears make no pair.
    """
    present = torch.zeros(labels.shape[0], 256, dtype=torch.bool, device=labels.device)
    present.scatter_(1, labels.flatten(1).long(), True)
    owner, label = present[:, 1:].nonzero(as_tuple=True)
    return owner, (labels[owner] == (label + 1).view(-1, 1, 1)).unsqueeze(1)
