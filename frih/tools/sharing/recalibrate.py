"""Measures the running statistics of a network's normalisations anew, on whole images, as it will be given them.

Training sees random boxes, and real images as composites if ``data.unchanged`` says so. Their statistics are others, and a
network is worse with them (docs/experiments.md, 9).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.models import Network


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
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
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
