"""Measures the running statistics of a network's normalisations anew, on whole images, as it will be given them.

Training sees random boxes, and real images as composites if ``data.unchanged`` says so. Their statistics are others, and a
network is worse with them (docs/experiments.md, 9). Averaged weights may also add a constant colour: ``centre`` takes it away
(docs/experiments.md, 11).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.evaluation import harmonize
from frih.models import FRIH, Network
from frih.models.output import Output


def recalibrate(
    model: Network,
    images: CompositeDataset,
    device: torch.device,
    *,
    count: int = 640,
    batch: int = 16,
    seed: int = 0,
    shown: Callable[[range], range] = lambda batches: batches,
) -> int:
    """Replaces the running statistics by the means over batches of whole images; the weights stay.

    Args:
        model: changed in place, and left in evaluation mode on the device.
        images: from which they are drawn, each at most once.
        device: to compute on.
        count: images to take, at most.
        batch: of them at a time.
        seed: of the draw.
        shown: shows the progress over the batches.

    Returns:
        How many images were taken: a whole number of batches. 0 changes nothing.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    batches = min(count, len(images)) // batch
    if batches < 1 or not norms:
        return 0
    order = _drawn(images, batches * batch, seed)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    model.to(device).train()
    with torch.no_grad():
        for i in shown(range(batches)):
            drawn = pack([images[index] for index in order[i * batch : (i + 1) * batch]]).unpack(device)
            model(drawn.composite, drawn.mask, drawn.labels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
    return batches * batch


def centre(
    model: Network,
    images: CompositeDataset,
    device: torch.device,
    *,
    count: int = 640,
    batch: int = 16,
    seed: int = 0,
    shown: Callable[[range], range] = lambda batches: batches,
) -> np.ndarray:
    """Adds to the last layer's bias what the results lack in the mean: three numbers. All else stays.

    What an image lacks is the mean of real less result inside its mask; every image counts alike.

    Args:
        model: as of :func:`recalibrate`, with its running statistics as they shall be.
        images: as there; those with an empty mask do not count.
        device: as there.
        count: as there.
        batch: as there.
        seed: as there.
        shown: as there.

    Returns:
        (3,) what was added to red, green and blue, in levels of 255. Zeros if no image counts.

    Raises:
        ValueError: the network has no such last layer, as other networks (``model.network``).
    """
    last = _last_layer(model)
    model.to(device).eval()
    order = _drawn(images, min(count, len(images)), seed)
    lacking = []
    for i in shown(range(0, len(order), batch)):
        samples = [images[index] for index in order[i : i + batch]]
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


def _drawn(images: CompositeDataset, count: int, seed: int) -> list[int]:
    """Indices of images, in the order of a draw."""
    order: list[int] = np.random.default_rng(seed).permutation(len(images)).tolist()
    return order[:count]


def _last_layer(model: Network) -> Output:
    """The layer whose bias moves all colours of the result alike."""
    if not isinstance(model, FRIH):
        raise ValueError(f"a {type(model).__name__} has no last layer that is known here")
    last = model.head.output if model.head else model.base.output
    if last.kind == "blend":
        raise ValueError("iDIH's blending layer has no bias that moves all colours alike")
    return last
