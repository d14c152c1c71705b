"""The last layer of both stages: from features and the stage's input image to its output image."""

from typing import Literal

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Kind = Literal["plain", "blend", "add"]


class Output(nn.Module):
    """A 1x1 convolution to RGB, and one of three ways to make an image of it.

    ``plain``: it is the image. ``blend``, iDIH's blending layer: it is mixed with the given image, pixel by pixel,
    a * image + (1 - a) * rgb with a = sigmoid(3 conv1x1(features)). ``add``: it is a change that is added to the given
    image. With the latter two unchanged detail passes by the network, which has only the change to learn.

    Args:
        width: channels of the features.
        kind: the way.
    """

    def __init__(self, width: int, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.to_rgb = nn.Conv2d(width, 3, 1)
        self.attention = nn.Conv2d(width, 1, 1) if kind == "blend" else None
        self.color_space = ColorSpace()
        self.gate: Tensor | None = None
        """``blend``, while training: the last a, (N, 1, H, W). Where it is 1, the given image comes back."""

    def forward(self, features: Tensor, image: Tensor | None) -> Tensor:
        """Features (N, width, H, W) and the given image (N, 3, H, W), which ``plain`` does not read, to an image in [0, 1].

        It is not clamped, so that the gradient of what lies outside lives.
        """
        rgb: Tensor = self.to_rgb(features)
        if image is None or self.kind == "plain":
            return self.color_space.denormalize(rgb)
        if self.attention is None:
            return image + rgb * self.color_space.std
        a = torch.sigmoid(3.0 * self.attention(features))
        if self.training:
            self.gate = a.detach()
        return a * image + (1.0 - a) * self.color_space.denormalize(rgb)


class ColorSpace(nn.Module):
    """RGB in [0, 1] to the zero-mean, unit-variance space the networks work in (ImageNet's statistics), and back."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        """(N, 3, H, W), from [0, 1]."""
        return (image - self.mean) / self.std

    def denormalize(self, rgb: Tensor) -> Tensor:
        """(N, 3, H, W), to RGB in [0, 1]; not clamped."""
        return rgb * self.std + self.mean


def initialize(module: nn.Module) -> None:
    """Gives convolutions Gaussian Xavier weights and zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_normal_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
