"""Harmonizer (Ke, Sun, Zhu, Xu, Lau: Learning to Perform White-Box Image and Video Harmonization, ECCV 2022).

A network predicts one argument for each of six filters, which are applied to the image one after the other.
"""

import torch
from torch import Tensor, nn

from peer_networks.efficientnet import FEATURES, EfficientNet
from peer_networks.peer import Peer

NARROW = 160
TINY = 1e-6


class HarmonizerLike(Peer):
    """EfficientNet-B0 and a cascade of regressors, each of which reads what the one before made of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = EfficientNet()
        self.shared = nn.Linear(FEATURES, NARROW)
        self.first = nn.Linear(FEATURES, NARROW)
        self.steps = nn.ModuleList(nn.Linear(2 * NARROW, NARROW) for _ in FILTERS)
        self.to_argument = nn.ModuleList(nn.Linear(NARROW, 1) for _ in FILTERS)

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        inside, outside = (torch.cat([composite, one], dim=1) for one in (mask, 1 - mask))
        features = self.features(inside, outside).mean((2, 3))
        shared, state = self.shared(features), self.first(features)
        image = composite
        for change, step, to_argument in zip(FILTERS, self.steps, self.to_argument, strict=True):
            state = step(torch.cat([shared, state], dim=1))
            argument = to_argument(state).clamp(-1, 1)[:, :, None, None]
            image = change(image, argument).clamp(0, 1)
        return image * mask + composite * (1 - mask)


def temperature(image: Tensor, x: Tensor) -> Tensor:
    """Warms or cools: raises the means of two channels and keeps the brightness. Each filter is the identity at 0."""
    means = image.mean((2, 3), keepdim=True)
    raised = means + x.abs() * torch.cat([(x < 0).float(), torch.full_like(x, 0.5), (x > 0).float()], dim=1)
    gains = [one.mean(1, keepdim=True) / (one + TINY) for one in (means, raised)]
    return image * (1 + gains[1] - gains[0])


def brightness(image: Tensor, x: Tensor) -> Tensor:
    """Scales the value of HSV, which scales all three channels alike."""
    return image * torch.where(x >= 0, 1 / (1 - x + TINY), 1 + x)


def contrast(image: Tensor, x: Tensor) -> Tensor:
    """Moves values away from the image's mean, or to it."""
    amount = torch.where(x > 0, 255 / (256 - torch.floor(255 * x)) - 1, x)
    return image + (image - image.mean((1, 2, 3), keepdim=True)) * amount


def saturation(image: Tensor, x: Tensor) -> Tensor:
    """Moves channels away from the lightness of HSL, or to it."""
    low, high = image.amin(1, keepdim=True), image.amax(1, keepdim=True)
    middle = (low + high) / 2
    saturated = (high - low) / (torch.where(middle < 0.5, high + low, 2 - high - low) + TINY)
    more = 1 / (torch.where(x + saturated > 1, saturated, 1 - x) + TINY)
    return middle + (image - middle) * torch.where(x >= 0, more, 1 + x)


def highlight(image: Tensor, x: Tensor) -> Tensor:
    """Bends the curve in the lights."""
    return 1 - (1 - image + TINY) ** (1 + x)


def shadow(image: Tensor, x: Tensor) -> Tensor:
    """Bends the curve in the darks."""
    return (image + TINY) ** (1 - x)


FILTERS = (temperature, brightness, contrast, saturation, highlight, shadow)
"""In the order of their application: image (B, 3, H, W) and argument (B, 1, 1, 1) in [-1, 1] to an image."""
