"""What every check works with: the recipe, its networks in each precision, and images."""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import Config
from frih.data.batches import Batch, Packed, Sample, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Listing, read_split
from frih.models import FRIH, build_model
from frih.tools.composites.sample import make_sample
from frih.tools.machine.device import Device
from frih.training.trainer import Trainer

MEASURABLE = 0.07
"""Composites of the made data set whose foreground covers less than this share are not timed: with the others alone it is
about a fifth, as in iHarmony4-like sets, in about eight submasks."""
ENOUGH = 4096
"""Composites that a data set is repeated to have, so that loaders do not come to the end of an epoch."""


class Precision(NamedTuple):
    """An arithmetic: ``train.precision`` and ``train.tf32``."""

    precision: str
    tf32: bool
    round_off: float
    """Largest relative error of rounding a number to it."""


PRECISIONS = {
    "fp32": Precision("fp32", False, 2.0**-24),
    "tf32": Precision("fp32", True, 2.0**-11),
    "bf16": Precision("bf16", True, 2.0**-8),
    "fp16": Precision("fp16", True, 2.0**-11),
}
NETWORKS: dict[str, dict[str, bool]] = {
    "base network": {"cascade": False, "fusion": False, "refine_blend": False, "dense": False},
    "FRIH": {"dense": False},
    "FRIH, dense": {"dense": True},
}
"""By name, what differs from the recipe's network."""


@dataclass(frozen=True)
class Setting:
    """One machine, one recipe, one data set."""

    device: Device
    config: Config
    folder: Path
    """A temporary one."""
    listing: Listing
    samples: list[Sample]
    """Images as in training, for whatever does not read them itself."""
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    quick: bool
    made: bool
    """Whether the data set was made for this."""

    @property
    def networks(self) -> list[str]:
        """Names of the networks there are: without a cascade the base network alone."""
        return list(NETWORKS) if self.config.model.cascade else ["base network"]

    def images(self, count: int, first: int = 0) -> Packed:
        """So many images, from one of the samples on."""
        return pack([self.samples[(first + i) % len(self.samples)] for i in range(count)])

    def batch(self, count: int, first: int = 0) -> Batch:
        """The same on the device."""
        return self.images(count, first).unpack(self.device.device)

    def recipe(self, network: str = "FRIH", precision: str = "fp32", **train: Any) -> Config:
        """The recipe's configuration with another network, arithmetic and keys of ``train``."""
        chosen = PRECISIONS[precision]
        train = {"precision": chosen.precision, "tf32": chosen.tf32, "accumulate": 1, "profile": 0, **train}
        changes = {"model": NETWORKS[network] if self.config.model.cascade else {}, "train": train}
        return with_changes(self.config, changes)

    def trainer(self, config: Config, run: str, *, repeat: bool = False, world: World | None = None) -> Trainer:
        """Its trainer, in a folder below the temporary one; ``repeat``: of the same composites again and again."""
        items = self.listing.items
        if repeat:
            items = items * math.ceil(ENOUGH / len(items))
        with contextlib.redirect_stdout(io.StringIO()):
            return Trainer(
                config, world or World(device=self.device.device), self.folder / run, self.listing._replace(items=items)
            )


def with_changes(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    """A configuration with some keys of some sections changed; they are not checked."""
    sections = {name: getattr(config, name).model_copy(update=keys) for name, keys in changes.items()}
    return config.model_copy(update=sections)


def simplified(config: Config) -> Config:
    """A recipe without what no check is about: validation, averages, warm-up; at a rate at which nothing diverges."""
    return with_changes(
        config,
        {
            "train": {"lr": 1e-4, "ema": None, "init_from": None, "compile": False, "warmup_steps": 0, "epochs": 1000},
            "validation": {"fraction": 0.0, "images": 0, "every": 1000},
            "checkpoint": {"keep_epochs": None},
        },
    )


def prepare(
    device: Device, config: Config, folder: Path, precisions: Sequence[str], batches: Sequence[int], quick: bool
) -> Setting:
    """Reads the recipe's data set, or makes one where it names none, and loads images."""
    root, made = config.data.root, config.data.root is None
    if root is None:
        root = str(make_sample(folder / "sample", train_variants=1, test_variants=1, progress=False).root)
    config = simplified(with_changes(config, {"data": {"root": root, "label_cache": None}}))
    listing = read_split(root, "train", config.data.subsets)
    samples = load(listing, config, max(batches), made)
    return Setting(device, config, folder, listing, samples, tuple(precisions), tuple(batches), quick, made)


def load(listing: Listing, config: Config, count: int, made: bool) -> list[Sample]:
    """Random boxes, as training sees them: up to ``count`` of different composites or epochs, 8 at least."""
    images = CompositeDataset(listing.items, config.data, config.submasks, config.seed)
    order = np.random.default_rng(config.seed).permutation(len(images)).tolist()
    found: list[Sample] = []
    for key in ((epoch, index) for epoch in range(100) for index in order):
        sample = images[key]
        if not made or sample.mask.mean() >= MEASURABLE:
            found.append(sample)
        if len(found) >= max(8, min(count, 64)):
            break
    if not found:
        raise UserError(f"{listing.items[0].root}: no image of it could be had for the check")
    middle = float(np.mean([sample.mask.mean() for sample in found]))
    return sorted(
        found, key=lambda sample: abs(float(sample.mask.mean()) - middle)
    )  # a few of them are like all of them


def trained_like(config: Config) -> FRIH:
    """A network whose weights are as a training leaves them, none zero and no normalisation neutral; from the recipe's seed."""
    network = build_model(config)
    rng = torch.Generator().manual_seed(config.seed + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1 or not parameter.any():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
        for name, buffer in network.named_buffers():
            noise = torch.randn(buffer.shape, generator=rng)
            if name.endswith("running_mean"):
                buffer.add_(0.1 * noise)
            elif name.endswith("running_var"):
                buffer.mul_((0.2 * noise).exp())
    return network


def set_tf32(on: bool) -> None:
    """As the trainer does it for ``train.tf32``."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def laid_out(network: nn.Module, channels_last: bool) -> nn.Module:
    """Its weights in either layout, which the features follow."""
    return network.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
