"""Measures the running statistics of a network's normalisations anew, on whole images, as it will be given them.

Training sees random boxes, and real images as composites if ``data.unchanged`` says so. Their statistics are others, and a
network is worse with them (docs/experiments.md, 9). Averaged weights may also add a constant colour: ``centre`` takes it away
(docs/experiments.md, 11).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import nn

from frih.common.progress import progress_bar
from frih.data.batches import Sample, pack
from frih.data.dataset import CompositeDataset
from frih.evaluation import harmonize
from frih.models import FRIH, Network
from frih.models.output import Output


@dataclass(frozen=True)
class Draw:
    """Which whole images are measured: a random draw, each at most once."""

    images: CompositeDataset
    count: int = 640
    """Images to take, at most."""
    batch: int = 16
    """Of them at a time."""
    seed: int = 0
    """Of the draw."""

    @property
    def full(self) -> int:
        """How many batches have ``batch`` images."""
        return min(self.count, len(self.images)) // self.batch

    def batches(self, desc: str) -> Iterator[list[Sample]]:
        """The images in the order of the draw, the last batch with what is left; ``desc`` stands at the progress bar."""
        order = np.random.default_rng(self.seed).permutation(len(self.images))[: self.count].tolist()
        for i in progress_bar(range(0, len(order), self.batch), desc=desc, unit="batch"):
            yield [self.images[index] for index in order[i : i + self.batch]]


def recalibrate(model: Network, draw: Draw, device: torch.device) -> int:
    """Replaces the running statistics by the means over full batches of whole images; the weights stay.

    Args:
        model: changed in place, and left in evaluation mode on the device.
        draw: the images.
        device: to compute on.

    Returns:
        How many images were taken: those of full batches. 0 changes nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    if draw.full < 1 or not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    model.to(device).train()
    with torch.no_grad():
        for samples in islice(draw.batches("statistics"), draw.full):
            drawn = pack(samples).unpack(device)
            model(drawn.composite, drawn.mask, drawn.labels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    return draw.full * draw.batch


def centre(model: Network, draw: Draw, device: torch.device) -> np.ndarray:
    """Adds to the last layer's bias what the results lack in the mean: three numbers. All else stays.

    What an image lacks is the mean of real less result inside its mask; every image counts alike.

    Args:
        model: as of :func:`recalibrate`, with its running statistics as they shall be.
        draw: the images; those with an empty mask do not count.
        device: to compute on.

    Returns:
        (3,) what was added to red, green and blue, in levels of 255. Zeros if no image counts.

    Raises:
        ValueError: as :func:`last_layer`.
    """
    last = last_layer(model)
    model.to(device).eval()
    lacking = []
    for samples in draw.batches("colour"):
        _, refined = harmonize(model, pack(samples), device)
        lacking += [
            (sample.real - image)[sample.mask].mean(axis=0)
            for sample, image in zip(samples, refined, strict=True)
            if sample.mask.any()
        ]
    added: np.ndarray = np.mean(lacking, axis=0) if lacking else np.zeros(3)
    with torch.no_grad():
        change = torch.as_tensor(added / 255, dtype=torch.float32, device=device)
        assert last.to_rgb.bias is not None
        last.to_rgb.bias += change / last.color_space.std.flatten()
    return added


def last_layer(model: Network) -> Output:
    """The layer whose bias moves all colours of the result alike.

    Raises:
        ValueError: there is none, as in another network (``model.network``) or behind iDIH's blending layer.
    """
    if not isinstance(model, FRIH):
        raise ValueError(f"a {type(model).__name__} has no last layer that is known here")
    last = model.head.output if model.head else model.base.output
    if last.kind == "blend":
        raise ValueError("iDIH's blending layer has no bias that moves all colours alike")
    return last
