"""What a run says of itself: what it will do, in a few aligned lines, and how good it has become."""

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm import tqdm

from frih.common.columns import wrapped
from frih.common.devices import CPU, device_name
from frih.common.distributed import World
from frih.common.progress import progress_bar
from frih.common.wording import counted
from frih.config import Config
from frih.config.keys import DataConfig, TrainConfig
from frih.data.iharmony4 import Listing
from frih.evaluation.layout import MAIN, figure
from frih.metrics import METRICS
from frih.training.logged import Logged

if TYPE_CHECKING:
    from frih.training.trainer import Trainer

COLUMNS, LABEL = 80, 15
"""The width of a terminal in which nothing is broken, but for long paths and commands; and that of the labels."""
_ALL = "val/All/"


def describe_run(trainer: "Trainer", listing: Listing, begins: str = "") -> str:
    """A run before its first step, a line for each thing that people ask about.

    Args:
        trainer: of the run.
        listing: the training split.
        begins: with which weights, or from which checkpoint.
    """
    config, world, order = trainer.config, trainer.world, trainer.order
    each = f", {config.train.batch // world.size} in each process" if world.size > 1 else ""
    parts = f", in {config.train.accumulate} parts" if config.train.accumulate > 1 else ""
    count = f"{len(order):,} an epoch, {trainer.steps:,} in {counted(config.train.epochs, 'epoch')}"
    lines = {
        "run": str(trainer.run),
        "device": _device(world, config.train),
        "network": _network(trainer.network),
        "images": listing.describe(lists=False),
        "": _division(len(trainer.training), len(trainer.validation), config),
        "augmentation": _augmentation(config.data),
        "steps": f"{count}; {counted(config.train.batch, 'image')} a step{each}{parts}",
        "learning rate": describe_rate(config),
        "begins": begins,
    }
    shown = [_entry(label, text) for label, text in lines.items() if text]
    return "\n".join([*shown, f"{'TensorBoard':{LABEL}}tensorboard --logdir {shlex.quote(str(trainer.run))}"])


def describe_rate(config: Config) -> str:
    """The learning rate, and when it falls; a remark on milestones that the run does not reach."""
    train, ends = config.train, counted(config.train.epochs, "epoch")
    rate = f"{config.learning_rate:g}"
    if train.lr is None and config.learning_rate != train.base_lr:
        rate += f" ({train.base_lr:g} at batch 128)"
    if train.warmup_steps:
        rate += f" after {counted(train.warmup_steps, 'step')} of warm-up"
    reached = [str(epoch) for epoch in train.milestones if epoch < train.epochs]
    missed = [str(epoch) for epoch in train.milestones if epoch >= train.epochs]
    if not reached:
        why = f"train.milestones=[{', '.join(missed)}] do not lie within {ends}" if missed else "no train.milestones"
        return f"{rate}; never falls: {why}"
    rest = f", not after {' and '.join(missed)}: the run ends before" if missed else ""
    return f"{rate}; falls tenfold after epoch{'s' * (len(reached) > 1)} {' and '.join(reached)}{rest}"


def describe_epoch(trainer: "Trainer") -> str:
    """The epoch of the last step, of all."""
    return f"epoch {max(1, math.ceil(trainer.step / len(trainer.order)))}/{trainer.config.train.epochs}"


def run_bar(trainer: "Trainer") -> "tqdm[Any]":
    """A bar over the steps of the whole run. It tells the time left, by the mean speed so far, with all validations."""
    return progress_bar(
        total=trainer.steps,
        initial=trainer.step,
        desc=describe_epoch(trainer),
        unit="step",
        smoothing=0,
        bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} {rate_fmt}{postfix}, {remaining} left",
        disable=not trainer.world.is_main,
    )


def describe_validation(line: Mapping[str, float], earlier: Sequence[Logged]) -> str:
    """A validation against the best one before it, by PSNR, as ``best.pt`` is chosen; two lines.

    Args:
        line: of the log: ``epoch``, ``val/All/psnr``, and so on.
        earlier: lines of the log, of which those with ``val/All/psnr`` count.
    """
    rated = [one for one in earlier if one.get(f"{_ALL}psnr") is not None]
    best = max(rated, key=lambda one: one[f"{_ALL}psnr"], default=Logged())
    place = f"epoch {best['epoch']:g}" if "epoch" in best else f"step {best.get('step')}"  # older logs have no epochs
    gain = line[f"{_ALL}psnr"] - best.get(f"{_ALL}psnr", math.nan)
    verdict = f", the best so far, {gain:.2f} above {place}" if gain > 0 else f", {-gain:.2f} below the best ({place})"
    figures = [_changed(key, line, best) for key in MAIN if key != "psnr" and f"{_ALL}{key}" in line]
    main = f"PSNR {figure('psnr', line[f'{_ALL}psnr'])} dB{verdict if best else ''}"
    return f"epoch {line['epoch']:g}, validation: {main}\n    {', '.join(figures)}"


def _device(world: World, train: TrainConfig) -> str:
    """The device, the number of processes and, on a CPU, of threads, and the arithmetic of the network."""
    several = f", {world.size} processes" if world.size > 1 else ""
    if world.device.type == "cpu":
        threads = counted(torch.get_num_threads(), "thread")
        several += f", {threads} each" if several else f", {threads}"
    name = device_name(world.device) + " (PyTorch sees no GPU)" * (train.device == "auto" and world.device == CPU)
    tf32 = " (TF32)" * (train.precision == "fp32" and train.tf32 and world.device.type == "cuda")
    return f"{name}{several}; {train.precision}{tf32}{', compiled' * train.compile}"


def _network(network: nn.Module) -> str:
    """The number of parameters, and where there is a base network and something after it, of each."""
    total, base = (_parameters(one) for one in (network, getattr(network, "base", None)))
    parts = f": base network {_millions(base)}, second stage {_millions(total - base)}" if 0 < base < total else ""
    return f"{_millions(total)} parameters{parts}"


def _division(training: int, held_out: int, config: Config) -> str:
    """How many composites train, and how many are held out."""
    share = f" (data.share={config.data.share:g})" if config.data.share < 1 else ""
    every = config.validation.every
    when = f"every {every} epochs" if every > 1 else "every epoch"
    rest = f"{held_out:,} held out, evaluated {when}" if held_out else "none held out, so there is no validation"
    return f"{training:,} to train on{share}; {rest}"


def _augmentation(data: DataConfig) -> str:
    """What training changes of the images."""
    low, high = (f"{100 * share:.3g}" for share in data.crop_scale)
    crops = f"crops of {low} to {high} % of the area" if low != high else f"crops of {low} % of the area"
    shares = {"flipped": data.flip, "made anew": data.online, "unchanged": data.unchanged}
    return ", ".join([crops, *(f"{100 * share:.3g} % {name}" for name, share in shares.items() if share)])


def _changed(key: str, line: Mapping[str, float], best: Logged) -> str:
    """A figure, and for errors the change: ``fMSE 945.55 (+15.01)``."""
    value, before = line[f"{_ALL}{key}"], best.get(f"{_ALL}{key}")
    if key not in METRICS:
        return f"{key} {figure(key, value)}"
    change = f" ({value - before:+.2f})" if before is not None else ""
    return f"{METRICS[key].label.rstrip('↓↑')} {figure(key, value)}{change}"


def _entry(label: str, text: str) -> str:
    return f"{label:{LABEL}}" + wrapped(text, COLUMNS - LABEL).replace("\n", f"\n{'':{LABEL}}")


def _parameters(module: nn.Module | None) -> int:
    return sum(parameter.numel() for parameter in module.parameters()) if module else 0


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,}"
