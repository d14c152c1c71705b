"""Whether the device computes what it should: images and gradients against float64 on the CPU.

An error is the norm of a difference over the norm of what it is a difference from. That of images is taken of the *change* the
network makes to the composite, for most of an image is the composite itself, which no arithmetic gets wrong.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from frih.common.distributed import CPU
from frih.config import Config
from frih.data.batches import Batch, pack
from frih.losses import harmonization_loss
from frih.models import FRIH
from frih.tools.machine.record import Row, Task, judged, skipped
from frih.tools.machine.setting import PRECISIONS, Setting, laid_out, set_tf32, trained_like
from frih.training.trainer import PRECISIONS as DTYPES
from frih.training.watching import restore

SUMS = 2.0**-24
"""Round-off of float32, in which all these arithmetics sum."""
IMAGES, GRADIENTS = (8.0, 4.0), (32.0, 8.0)
"""Factors of :func:`allowed`, for images and for gradients."""
LARGEST_SCALE = 2.0**16
"""Where float16's scale of the loss starts, as the trainer's does."""


class Outcome(NamedTuple):
    """What a network makes of a batch, in float64 on the CPU."""

    inference: Tensor
    """(2, B, 3, H, W), coarse and refined, in evaluation mode."""
    training: Tensor
    """The same in training mode, with the statistics of the batch."""
    gradient: Tensor
    """Of the loss, by all weights in one row."""


def allowed(precision: str, pixels: int, widest: int = 400) -> dict[str, float]:
    """How large the errors may be in a precision of round-off u: a u + b 2^-24 sqrt(n).

    The first part is what rounding the inputs of each layer does. Through some thirty layers, and back, it grows to a few u
    (measured on CPUs in bfloat16: 2.6 u for images, 9 u for gradients), of which a leaves more than three times that. The
    second is the rounding of sums of n terms in float32, which grows like a random walk, sqrt(n). In training the longest sums
    are those of batch normalisation, over all pixels; measured, channels last on CPUs: 1 and 2.3 times 2^-24 sqrt(n).

    Args:
        precision: one of :data:`~frih.tools.machine.setting.PRECISIONS`.
        pixels: of the batch.
        widest: channels of the widest layer, whose 4x4 convolution has the longest sum of inference.
    """
    u = PRECISIONS[precision].round_off
    (a, b), (c, d) = IMAGES, GRADIENTS
    return {
        "inference": a * u + b * SUMS * math.sqrt(16 * widest),
        "training": a * u + b * SUMS * math.sqrt(pixels),
        "gradient": c * u + d * SUMS * math.sqrt(pixels),
    }


def exact_batch(setting: Setting) -> Batch:
    """Real images, the last one without foreground, on the CPU.

    Their number is such that the deepest layer, at 1/128 of the size, normalises over 8 or 16 values: over fewer a gradient
    depends so much on each rounding that its error says little (in bfloat16, over 4 values, it was 40 u). Quickly, no image
    has more than three submasks: float64 takes its time.
    """
    values = 16 if setting.device.is_gpu and not setting.quick else 8
    count = max(3, math.ceil(values / (setting.config.data.size // 128) ** 2))
    samples = [setting.samples[i % len(setting.samples)] for i in range(count)]
    if setting.quick:
        samples = [sample._replace(labels=np.minimum(sample.labels, 3)) for sample in samples]
    nothing = np.zeros_like(samples[-1].labels)
    samples[-1] = samples[-1]._replace(soft_mask=nothing, labels=nothing)
    return pack(samples).unpack(CPU)


def outcome(network: FRIH, batch: Batch, config: Config, precision: str = "fp32") -> Outcome:
    """Runs a network on a batch, in both modes and back. Its buffers are left as they were.

    Args:
        network: on some device, in float32 or float64.
        batch: anywhere.
        config: has ``loss``.
        precision: of float32 networks.
    """
    first = next(network.parameters())
    device, dtype = first.device, first.dtype
    composite, real, mask = (x.to(device, dtype) for x in (batch.composite, batch.real, batch.mask))
    labels = batch.labels.to(device)
    set_tf32(PRECISIONS[precision].tf32)
    arithmetic = DTYPES[PRECISIONS[precision].precision]
    half = torch.autocast(device.type, arithmetic, enabled=arithmetic != torch.float32)
    buffers = [buffer.clone() for buffer in network.buffers()]
    with torch.no_grad(), half:
        inference = torch.stack(list(network.eval()(composite, mask, labels)))
    network.train()
    scale = LARGEST_SCALE if precision == "fp16" else 1.0
    while True:
        restore(network.buffers(), buffers)
        network.zero_grad(set_to_none=True)
        with half:
            out = network(composite, mask, labels)
        loss = harmonization_loss(
            out,
            real,
            mask,
            labels,
            min_area=config.loss.min_area,
            equal=config.loss.equal,
            refine=network.cascade is not None,
        )
        (loss.total.mean() * scale).backward()  # type: ignore[no-untyped-call]
        gradient = flat_gradient(network) / scale
        if scale <= 1 or gradient.isfinite().all():
            break
        scale /= 2
    restore(network.buffers(), buffers)
    return Outcome(_exact(inference), _exact(torch.stack(list(out))), gradient)


def flat_gradient(network: torch.nn.Module) -> Tensor:
    """All gradients in one row; weights without one count as zero."""
    return torch.cat(
        [_exact(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in network.parameters()]
    )


def errors(found: Outcome, reference: Outcome, composite: Tensor) -> dict[str, float]:
    """Relative errors of an outcome; see the head of this file."""
    given = _exact(composite)
    return {
        "inference": relative(found.inference, reference.inference, given),
        "training": relative(found.training, reference.training, given),
        "gradient": relative(found.gradient, reference.gradient),
    }


def relative(found: Tensor, reference: Tensor, given: Tensor | float = 0.0) -> float:
    """The norm of the error over that of what the reference adds to what was given."""
    return float((found - reference).norm() / (reference - given).norm())


class Exactness:
    """The checks of one network.

    Args:
        setting: the device, and the rest.
        name: of the network.
    """

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.config = setting.recipe(name)
        self._known: tuple[Batch, Outcome] | None = None

    def reference(self) -> tuple[Batch, Outcome]:
        """The batch, and what float64 makes of it on the CPU. The dense form has that of the default."""
        if self._known is None:
            batch = exact_batch(self.setting)
            config = self.setting.recipe("FRIH") if self.name == "FRIH, dense" else self.config
            self._known = batch, outcome(trained_like(config).double(), batch, config)
        return self._known

    def check(self, precisions: tuple[str, ...], layouts: tuple[bool, ...] = (True, False)) -> Iterator[Row]:
        """A row for each precision and layout (channels last, or not)."""
        batch, reference = self.reference()
        network = trained_like(self.config).to(self.setting.device.device)
        widest = max(self.config.model.base_widths)
        bounds = {precision: allowed(precision, batch.labels.numel(), widest) for precision in precisions}
        for precision in precisions:
            if precision == "tf32" and not self.setting.device.is_gpu:
                yield skipped(f"{self.name}, tf32", "GPUs alone have it")
                continue
            for channels_last in layouts:
                laid_out(network, channels_last)
                found = outcome(network, batch, self.config, precision)
                layout = "channels last" if channels_last else "contiguous"
                yield judged(
                    f"{self.name}, {precision}, {layout}",
                    errors(found, reference, batch.composite),
                    bounds[precision],
                    kind="arithmetic",
                    network=self.name,
                    precision=precision,
                    layout=layout,
                    compiled=False,
                    images=len(batch.name),
                )


def tasks(setting: Setting) -> list[Task]:
    """Every network in every precision; the dense form, of which one would do, on GPUs in one."""
    checks = {name: Exactness(setting, name) for name in setting.networks}
    found = []
    for name, check in checks.items():
        if name != "FRIH, dense":
            found.append(Task("right", name, partial(check.check, setting.precisions), 0.5))
        elif setting.device.is_gpu:
            check.reference = checks["FRIH"].reference  # type: ignore[method-assign]
            found.append(Task("right", name, partial(check.check, setting.precisions[:1], (True,)), 0.5))
    return found


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().to(CPU, torch.float64)
