"""FRIH: base network, cascade and fusion head put together, as in the paper's figure 2."""

from collections.abc import Sequence

import torch
from torch import Tensor

from frih.config import ModelConfig
from frih.config.keys import Ramp
from frih.models.cascade import Cascade
from frih.models.fusion import FusionHead
from frih.models.network import Harmonized, Network
from frih.models.refine import refine_in_tiles
from frih.models.shrink import shrink_change
from frih.models.tiles import send, submasks_of
from frih.models.unet import BaseNetwork

PAPER = ModelConfig()
"""The network of the paper."""


class FRIH(Network):
    """The network of *FRIH: Fine-Grained Region-Aware Image Harmonization* (Peng et al., AAAI 2024).

    With its default arguments it is the paper's model of 11.98 M parameters. ``cascade=False`` makes the *Baseline* of Table 3,
    ``fusion=False`` the rows in between.

    Args:
        cascade: refine by the second stage. Without it the coarse image is the final one, but for ``shrink``.
        fusion: predict from all cascaded decoder layers; otherwise from the last one.
        residual: stages that predict a change, which is added to the image they are given: both (True), none (False),
            ``"base"`` or ``"cascade"``.
        dense: run the second stage literally, at full size for every pair. Otherwise its last layers run only in the tiles that
            a pair's submask touches (:mod:`frih.models.refine`): the same result within rounding, at a fraction of the cost.
        end_to_end: let the second stage's gradient reach the base network.
        norm: ``"batch"`` or ``"none"``.
        base_widths: channels of the base encoder's seven layers.
        base_decoder_width: channels of the base decoder's last layer.
        cascade_widths: channels of the cascaded encoder's seven layers.
        head_width: channels of the fusion head's 3x3 convolutions.
        shrink: outside of training, scale the final change by its own size (:func:`~frih.models.shrink.shrink_change`).
    """

    def __init__(
        self,
        *,
        cascade: bool = True,
        fusion: bool = True,
        residual: bool | str = True,
        dense: bool = False,
        end_to_end: bool = True,
        norm: str = "batch",
        base_widths: Sequence[int] = PAPER.base_widths,
        base_decoder_width: int = PAPER.base_decoder_width,
        cascade_widths: Sequence[int] = PAPER.cascade_widths,
        head_width: int = PAPER.head_width,
        shrink: Ramp | None = None,
    ) -> None:
        super().__init__()
        self.dense = dense
        self.end_to_end = end_to_end
        self.shrink = shrink
        self.base = BaseNetwork(
            widths=base_widths, decoder_width=base_decoder_width, norm=norm, residual=residual in (True, "base")
        )
        self.cascade: Cascade | None = None
        self.head: FusionHead | None = None
        self.refines = cascade
        if cascade:
            self.cascade = Cascade(base_widths=base_widths, widths=cascade_widths, norm=norm)
            self.head = FusionHead(
                self.cascade.decoder_widths, fusion=fusion, width=head_width, residual=residual in (True, "cascade")
            )
        self.to(memory_format=torch.channels_last)  # a layout, not another computation; faster on CPUs and tensor cores

    def forward(self, composite: Tensor, mask: Tensor, labels: Tensor) -> Harmonized:
        """Harmonizes a batch.

        Args:
            composite: (B, 3, H, W), RGB in [0, 1]; H and W divisible by 128.
            mask: (B, 1, H, W), 1 = foreground, 0 = background.
            labels: (B, H, W), uint8: 0 = background, k = submask k. Not read without a cascade. If they are on the CPU and the
                network on a GPU, no step waits for the GPU: the number of pairs is known here.

        Returns:
            The coarse and the refined images, of the composite's precision.

        Raises:
            ValueError: the shapes do not fit each other, or the network.
        """
        _check_shapes(composite, mask, labels)
        coarse, features = self.base(composite, mask)
        coarse = coarse.to(composite)
        if self.cascade is None or self.head is None:
            refined = coarse
        else:
            given = coarse
            if not self.end_to_end:
                given, features = coarse.detach(), [feature.detach() for feature in features]
            refine = refine_literally if self.dense else refine_in_tiles
            refined = refine(self.cascade, self.head, composite, labels, given, features)
        if self.shrink and not self.training:
            refined = shrink_change(refined, composite, mask, self.shrink)
        return Harmonized(coarse, refined)


def refine_literally(
    cascade: Cascade, head: FusionHead, composite: Tensor, labels: Tensor, coarse: Tensor, features: Sequence[Tensor]
) -> Tensor:
    """Stage two: predicts an image for every submask, and takes from each the pixels of its submask.

    Args:
        cascade: decodes every (coarse image, submask) pair.
        head: predicts an image from the decoder layers.
        composite: (B, 3, H, W), which stays outside the submasks.
        labels: (B, H, W).
        coarse: (B, 3, H, W).
        features: E_1 ... E_7 of the base encoder.

    Returns:
        The refined images, (B, 3, H, W).
    """
    owner, submasks = pairs(labels, composite)
    predicted = head(cascade(coarse, submasks, owner, features), coarse[owner]).to(composite)
    background = composite * (send(labels, composite.device) == 0).unsqueeze(1)
    return background.index_add(0, owner, predicted * submasks)


def pairs(labels: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lists the submasks of a batch, image by image and in the order of their labels.

    Args:
        labels: (B, H, W), integers from 0 to 255: 0 = background.
        like: a tensor whose type and device the submasks get.

    Returns:
        owner: (P,), the image that each submask belongs to.
        submasks: (P, 1, H, W), 1 inside. Labels that no pixel bears make no pair.
    """
    present = torch.zeros(labels.shape[0], 256, dtype=torch.bool, device=labels.device)
    present.scatter_(1, labels.flatten(1).long(), True)
    owner, label = (send(index, like.device) for index in present[:, 1:].nonzero(as_tuple=True))
    return owner, submasks_of(send(labels, like.device), owner, label + 1).to(like)


def _check_shapes(composite: Tensor, mask: Tensor, labels: Tensor) -> None:
    images, channels, height, width = composite.shape if composite.dim() == 4 else (0, 0, 0, 0)
    if channels != 3 or height % 128 or width % 128:
        raise ValueError(f"composite: must be (B, 3, H, W), H and W divisible by 128, not {tuple(composite.shape)}")
    if mask.shape != (images, 1, height, width) or labels.shape != (images, height, width):
        shapes = f"{(images, 1, height, width)} and {(images, height, width)}"
        raise ValueError(f"mask and labels: must be {shapes}, not {tuple(mask.shape)} and {tuple(labels.shape)}")
