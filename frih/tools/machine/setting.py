"""What every check works with: the options, the recipe, its networks in each precision, and images."""

import contextlib
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.config import Config
from frih.data.batches import Batch, Packed, Sample, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Listing, read_split
from frih.models import Network, build_model
from frih.tools.composites.sample import make_sample
from frih.tools.machine.device import Device
from frih.training.trainer import PRECISIONS as DTYPES
from frih.training.trainer import Trainer

MEASURABLE = 0.07
"""Composites of the made data set with a smaller share of foreground are not timed. The others have a fifth of foreground and
eight submasks in the mean, as sets like iHarmony4 have."""
ENOUGH = 4096
"""A data set is repeated to so many composites, so that a loader does not reach the end of an epoch."""
DENSE = "FRIH, dense"
NETWORKS: dict[str, dict[str, bool]] = {
    "base network": {"cascade": False, "fusion": False, "dense": False},
    "FRIH": {"dense": False},
    DENSE: {"dense": True},
}
"""Networks by name: the keys of ``model`` that differ from the recipe."""


class Precision(NamedTuple):
    """An arithmetic: ``train.precision`` and ``train.tf32``."""

    precision: str
    tf32: bool
    round_off: float
    """Largest relative error of rounding a number to it."""

    @property
    def dtype(self) -> torch.dtype:
        """Of autocast."""
        return DTYPES[self.precision]


PRECISIONS = {
    "fp32": Precision("fp32", False, 2.0**-24),
    "tf32": Precision("fp32", True, 2.0**-11),
    "bf16": Precision("bf16", True, 2.0**-8),
    "fp16": Precision("fp16", True, 2.0**-11),
}


@dataclass(frozen=True)
class Options:
    """What to check; see ``scripts/check_machine.py``."""

    quick: bool
    only: tuple[str, ...]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    minutes: float
    compile: bool


def options_for(gpu: bool, *, quick: bool = False, **given: Any) -> Options:
    """The usual options of a GPU or a CPU, and those given, except None. Neither float16 nor compiling pays on a CPU."""
    usual: dict[str, Any] = {"only": ("right", "fast", "limit"), "compile": gpu and not quick}
    if gpu:
        usual["precisions"] = ("tf32", "bf16") if quick else tuple(PRECISIONS)
        usual["batches"], usual["minutes"] = ((16, 128), 1.0) if quick else ((1, 16, 32, 64, 128), 3.0)
    else:
        usual["precisions"] = ("fp32", "bf16")
        usual["batches"], usual["minutes"] = ((1, 4), 3.0) if quick else ((1, 4, 16), 10.0)
    return Options(quick=quick, **usual | {name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Setting:
    """One machine, one recipe, one data set."""

    device: Device
    config: Config
    folder: Path
    """A temporary folder."""
    listing: Listing
    samples: list[Sample]
    """Images as in training, for the checks that do not read files themselves."""
    options: Options
    made: bool
    """Whether the data set was made for the check."""
    references: dict[str, Any] = field(default_factory=dict)
    """Exact results by network; see :func:`frih.tools.machine.right.reference`."""

    @property
    def networks(self) -> list[str]:
        """The networks' names; a recipe without a cascade has the base network alone."""
        return list(NETWORKS) if self.config.model.cascade else ["base network"]

    def precisions(self, network: str = "FRIH") -> list[str]:
        """The precisions to time a network in. The dense form takes one or two, and none on a CPU when it must be quick."""
        gpu, quick = self.device.is_gpu, self.options.quick
        chosen = [one for one in self.options.precisions if one != "tf32" or gpu]
        if network != DENSE:
            return chosen
        if quick:
            return chosen[-1:] if gpu else []
        return [one for one in chosen if one in ("tf32", "bf16")] or chosen[:1]

    def images(self, count: int, first: int = 0) -> Packed:
        """So many images, starting with sample number ``first``."""
        return pack([self.samples[(first + i) % len(self.samples)] for i in range(count)])

    def batch(self, count: int, first: int = 0) -> Batch:
        """:meth:`images` on the device."""
        return self.images(count, first).unpack(self.device.device)

    def recipe(self, network: str = "FRIH", precision: str = "fp32", **train: Any) -> Config:
        """The recipe with another network, another precision, and other keys of ``train``."""
        chosen = PRECISIONS[precision]
        train = {"precision": chosen.precision, "tf32": chosen.tf32, "accumulate": 1, "profile": 0, **train}
        changes = {"model": NETWORKS[network] if self.config.model.cascade else {}, "train": train}
        return with_changes(self.config, changes)

    def trainer(self, config: Config, run: str, *, repeat: bool = False, world: World | None = None) -> Trainer:
        """A recipe's trainer, by default on the device, with ``run`` below the temporary folder.

        ``repeat``: the composites are repeated up to :data:`ENOUGH`.
        """
        items = self.listing.items
        if repeat:
            items = items * math.ceil(ENOUGH / len(items))
        world = world or World(device=self.device.device)
        with contextlib.redirect_stdout(io.StringIO()):
            return Trainer(config, world, self.folder / run, self.listing._replace(items=items))


def with_changes(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    """A configuration with other keys in some sections. They are not validated."""
    sections = {name: getattr(config, name).model_copy(update=keys) for name, keys in changes.items()}
    return config.model_copy(update=sections)


def prepare(device: Device, config: Config, folder: Path, options: Options) -> Setting:
    """Reads the recipe's data set, or makes one if the recipe names none, and loads images.

    Validation, weight averages, warm-up and the like are switched off: no check is about them.
    """
    root, made = config.data.root, config.data.root is None
    if root is None:
        root = str(make_sample(folder / "sample", train_variants=1, test_variants=1, progress=False).root)
    train = {"lr": 1e-4, "ema": None, "init_from": None, "compile": False, "warmup_steps": 0, "epochs": 1000}
    changes: dict[str, dict[str, Any]] = {
        "data": {"root": root, "label_cache": None},
        "train": train,
        "validation": {"fraction": 0.0, "images": 0, "every": 1000},
        "checkpoint": {"keep_epochs": None},
    }
    config = with_changes(config, changes)
    listing = read_split(root, "train", config.data.subsets)
    samples = load(listing, config, max(options.batches), made)
    return Setting(device, config, folder, listing, samples, options, made)


def load(listing: Listing, config: Config, count: int, made: bool) -> list[Sample]:
    """Random boxes as in training, 8 to 64 of them, those with the most usual share of foreground first."""
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
        raise UserError(f"{listing.items[0].root}: has no image with enough foreground to check with")
    shares = [float(sample.mask.mean()) for sample in found]
    middle = float(np.mean(shares))
    order = sorted(range(len(found)), key=lambda i: abs(shares[i] - middle))
    return [found[i] for i in order]


def trained_like(config: Config) -> Network:
    """A network with weights as after training, from the recipe's seed: none is zero, and no normalisation is neutral."""
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
