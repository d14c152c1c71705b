"""The training loss: equations 6 to 8 of the paper."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from frih.models import Harmonized

Equal = Literal["submasks", "pixels"]


class Losses(NamedTuple):
    """Each (B,): one value for each image. The loss of a batch is their mean."""

    total: Tensor
    """L_total = L_coarse + L_refine (6); other weights of L_refine than 1 are ours."""
    coarse: Tensor
    refine: Tensor


def harmonization_loss(
    out: Harmonized,
    real: Tensor,
    mask: Tensor,
    labels: Tensor,
    *,
    min_area: int = 100,
    equal: Equal = "submasks",
    refine_weight: float = 1.0,
    refine: bool = True,
) -> Losses:
    """The losses of a batch's images.

    Args:
        out: coarse and refined images, (B, 3, H, W), RGB in [0, 1].
        real: ground truth, (B, 3, H, W).
        mask: (B, 1, H, W), 1 = foreground.
        labels: (B, H, W), integers, 0 = background, k = submask k.
        min_area: A_min, in pixels.
        equal: what counts alike in L_refine, ``"submasks"`` or ``"pixels"``.
        refine_weight: of L_refine in the total.
        refine: whether there is a second stage; without it L_refine is 0.
    """
    coarse = coarse_loss(out.coarse, real, mask, min_area)
    refined = refine_loss(out.refined, real, labels, min_area, equal) if refine else torch.zeros_like(coarse)
    return Losses(coarse + refine_weight * refined, coarse, refined)


def coarse_loss(image: Tensor, real: Tensor, mask: Tensor, min_area: int) -> Tensor:
    """Equation 7: squared error, summed over the *whole* image and RGB, over the mask's area (A_min at least).

    Returns:
        (B,), in units of squared RGB in [0, 1].
    """
    area = mask.sum(dim=(1, 2, 3)).clamp(min=min_area)
    return squared_error(image, real).sum(dim=(1, 2)) / area


def refine_loss(image: Tensor, real: Tensor, labels: Tensor, min_area: int, equal: Equal = "submasks") -> Tensor:
    """Equation 8: squared error inside each submask over that submask's area (A_min at least), summed over the submasks.

    Every pixel belongs to one submask or to none, so the sum over submasks is one over pixels, each weighted by its own. With
    ``equal="pixels"`` all weigh 1 / the area of all submasks together.

    Returns:
        (B,), 0 for an image without submasks.
    """
    label = labels.to(image.device, non_blocking=True).flatten(1).long()
    error = squared_error(image, real).flatten(1)
    areas = error.new_zeros(len(label), 256).scatter_add_(1, label, torch.ones_like(error))
    if equal == "pixels":
        areas = areas[:, 1:].sum(dim=1, keepdim=True).expand_as(areas)
    weight = 1.0 / areas.clamp(min=min_area)
    weight[:, 0] = 0.0
    return (error * weight.gather(1, label)).sum(dim=1)


def squared_error(image: Tensor, real: Tensor) -> Tensor:
    """The paper's squared norm of a pixel's RGB difference: (B, 3, H, W) twice to (B, H, W)."""
    return (image - real).square().sum(dim=1)
