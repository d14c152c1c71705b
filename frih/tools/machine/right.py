"""Whether the device computes rightly: images and gradients against float64 on the CPU.

An error is the norm of a difference over the norm of the reference. For images the reference is the *change* that the network
makes to the composite: most of an image is the composite itself, which every arithmetic gets right.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from frih.common.devices import CPU
from frih.common.distributed import set_tf32
from frih.config import Config
from frih.data.batches import Batch, pack
from frih.losses import harmonization_loss
from frih.models import Network
from frih.tools.machine.record import Row, judged, skipped
from frih.tools.machine.setting import DENSE, PRECISIONS, Setting, trained_like
from frih.training.nonfinite import restore

SUMS = 2.0**-24
"""Round-off of float32, in which every arithmetic sums."""
IMAGES, GRADIENTS = (8.0, 4.0), (32.0, 8.0)
"""Factors of :func:`allowed`, for images and for gradients."""
LARGEST_SCALE = 2.0**16
"""First scale of the loss in float16, as in the trainer."""
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


class Outcome(NamedTuple):
    """What a network makes of a batch, in float64 on the CPU."""

    inference: Tensor
    """(2, B, 3, H, W), coarse and refined, in evaluation mode."""
    training: Tensor
    """The same in training mode, with the statistics of the batch."""
    gradient: Tensor
    """The gradient of the loss by all weights, as one vector."""


def exactness(setting: Setting, name: str) -> Iterator[Row]:
    """A row for each precision and layout of a network; for the dense form one row, with the first of each."""
    batch, _ = reference(setting, name)
    config = setting.recipe(name)
    network = trained_like(config).to(setting.device.device)
    most = 1 if name == DENSE else None
    for precision in setting.options.precisions[:most]:
        if precision == "tf32" and not setting.device.is_gpu:
            yield skipped(f"{name}, tf32", "only GPUs have it")
            continue
        for layout, memory_format in list(LAYOUTS.items())[:most]:
            network.to(memory_format=memory_format)
            found = outcome(network, batch, config, precision)
            more = {"layout": layout, "compiled": False, "images": len(batch.items)}
            yield compared(setting, name, precision, found, layout, **more)


def compared(setting: Setting, name: str, precision: str, found: Outcome, how: str, **more: object) -> Row:
    """The row of a network's outcome, against the reference."""
    batch, exact = reference(setting, name)
    given = _exact(batch.composite)
    errors = {
        "inference": relative(found.inference, exact.inference, given),
        "training": relative(found.training, exact.training, given),
        "gradient": relative(found.gradient, exact.gradient),
    }
    bounds = allowed(precision, batch.labels.numel(), max(setting.config.model.base_widths))
    about = {"kind": "arithmetic", "network": name, "precision": precision, **more}
    return judged(f"{name}, {precision}, {how}", errors, bounds, **about)


def allowed(precision: str, pixels: int, widest: int = 400) -> dict[str, float]:
    """The largest errors allowed in a precision of round-off u: a u + b 2^-24 sqrt(n).

    The first part is the rounding of each layer's inputs. Through some thirty layers, and back, it grows to a few u (measured
    on CPUs in bfloat16: 2.6 u for images, 9 u for gradients); a allows three times as much. The second part is the rounding of
    sums of n terms in float32, which grows with sqrt(n), as a random walk does. In training batch normalisation has the
    longest sums, over all pixels (measured on CPUs, channels last: 1 and 2.3 times 2^-24 sqrt(n)).

    Args:
        precision: one of :data:`~frih.tools.machine.setting.PRECISIONS`.
        pixels: in the batch.
        widest: channels of the widest layer. Its 4x4 convolution has the longest sum of inference.
    """
    u = PRECISIONS[precision].round_off
    (a, b), (c, d) = IMAGES, GRADIENTS
    return {
        "inference": a * u + b * SUMS * math.sqrt(16 * widest),
        "training": a * u + b * SUMS * math.sqrt(pixels),
        "gradient": c * u + d * SUMS * math.sqrt(pixels),
    }


def relative(found: Tensor, reference: Tensor, given: Tensor | float = 0.0) -> float:
    """The norm of the error over the norm of what the reference adds to ``given``."""
    return float((found - reference).norm() / (reference - given).norm())


def reference(setting: Setting, name: str) -> tuple[Batch, Outcome]:
    """The batch of :func:`exact_batch` and its exact outcome, in float64 on the CPU; computed once.

    The dense form has the reference of the default one.
    """
    name = "FRIH" if name == DENSE else name
    if name not in setting.references:
        batch, config = exact_batch(setting), setting.recipe(name)
        setting.references[name] = batch, outcome(trained_like(config).double(), batch, config)
    found: tuple[Batch, Outcome] = setting.references[name]
    return found


def exact_batch(setting: Setting, least: int = 3, multiple: int = 1) -> Batch:
    """Real images on the CPU, the last one without foreground; at least so many, and a multiple of some number.

    There are so many that the deepest layer, at 1/128 of the size, normalises over 8 or 16 values. Over fewer values a gradient
    depends too much on each rounding (over 4 values its error was 40 u in bfloat16). If the check is to be quick, no image has
    more than three submasks, because float64 is slow.
    """
    quick = setting.options.quick
    values = 16 if setting.device.is_gpu and not quick else 8
    count = max(least, math.ceil(values / (setting.config.data.size // 128) ** 2))
    count = multiple * math.ceil(count / multiple)
    samples = [setting.samples[i % len(setting.samples)] for i in range(count)]
    if quick:
        samples = [sample._replace(labels=np.minimum(sample.labels, 3)) for sample in samples]
    nothing = np.zeros_like(samples[-1].labels)
    samples[-1] = samples[-1]._replace(soft_mask=nothing, labels=nothing)
    return pack(samples).unpack(CPU)


def outcome(network: Network, batch: Batch, config: Config, precision: str = "fp32") -> Outcome:
    """Runs a network in float32 or float64 on a batch, in both modes and back. Its buffers stay as they are."""
    buffers = [buffer.clone() for buffer in network.buffers()]
    composite, _, mask, labels = _inputs(network, batch)
    with torch.no_grad(), _autocast(network, precision):
        inference = torch.stack(list(network.eval()(composite, mask, labels)))
    scale = LARGEST_SCALE if precision == "fp16" else 1.0
    while True:
        training, gradient = train_once(network, batch, config, precision, scale)
        restore(network.buffers(), buffers)
        if scale <= 1 or gradient.isfinite().all():
            return Outcome(_exact(inference), training, gradient)
        scale /= 2


def train_once(
    model: nn.Module, batch: Batch, config: Config, precision: str = "fp32", scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Forward and backward in training mode, with the loss times ``scale``.

    Returns:
        Images (2, B, 3, H, W), coarse and refined, and the gradient as one vector; float64, on the CPU.
    """
    composite, real, mask, labels = _inputs(model, batch)
    model.train().zero_grad(set_to_none=True)
    with _autocast(model, precision):
        out = model(composite, mask, labels)
    loss = config.loss
    losses = harmonization_loss(
        out, real, mask, labels, min_area=loss.min_area, equal=loss.equal, refine=config.model.cascade
    )
    (losses.total.mean() * scale).backward()  # type: ignore[no-untyped-call]
    gradients = (torch.zeros_like(one) if one.grad is None else one.grad for one in model.parameters())
    gradient = torch.cat([_exact(one).flatten() for one in gradients])
    return _exact(torch.stack(list(out))), gradient / scale


def _inputs(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    first = next(model.parameters())
    composite, real, mask = (x.to(first.device, first.dtype) for x in (batch.composite, batch.real, batch.mask))
    return composite, real, mask, batch.labels.to(first.device)


def _autocast(model: nn.Module, precision: str) -> torch.autocast:
    arithmetic = PRECISIONS[precision]
    set_tf32(arithmetic.tf32)
    device = next(model.parameters()).device.type
    return torch.autocast(device, arithmetic.dtype, enabled=arithmetic.dtype != torch.float32)


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to(CPU, torch.float64)
