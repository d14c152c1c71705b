"""What networks cost, measured in turns: for benchmarks/model.py and benchmarks/peers.py."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from frih.common.memory import return_memory
from frih.data.batches import Batch
from frih.losses import harmonization_loss
from frih.models.folding import fold_normalization
from frih.models.network import Network
from frih.tools.machine.device import Device, command, facts

Build = Callable[[], Network]
"""It travels to other processes, so it is no lambda."""


def as_used(build: Build) -> Network:
    """A network as Harmonizer and evaluate.py use it."""
    return fold_normalization(build())


class Cost(NamedTuple):
    """The cost of one variant."""

    parameters: int
    multiply_adds: float
    """Of an image."""
    times: list[float]
    """Seconds of its turns, in which it ran on one batch."""
    memory: float
    """Bytes."""

    @property
    def seconds(self) -> float:
        """The median time."""
        return statistics.median(self.times)


def measure(
    variants: Mapping[str, Build],
    batches: Sequence[Batch],
    rounds: int,
    device: Device,
    *,
    train: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Cost]:
    """The costs of some variants, which take turns on each batch in each round."""
    models = {name: build().to(device.device).train(train) for name, build in variants.items()}
    for model in models.values():
        run(model, batches[0], train)
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for batch in batches:
            for name, model in models.items():
                times[name].append(timed(model, batch, device, train, clock))
    heaviest = max(batches, key=lambda batch: int(batch.labels.flatten(1).amax(1).sum()))
    costs = {}
    for name, model in models.items():
        different = batches if model.refines else batches[:1]  # one stage costs the same for every image
        counts = [multiply_adds(model, batch, train) / len(batch.items) for batch in different]
        parameters = sum(p.numel() for p in model.parameters())
        memory = peak_memory(variants[name], heaviest, device, train)
        costs[name] = Cost(parameters, statistics.mean(counts), times[name], memory)
    return costs


def run(model: Network, batch: Batch, train: bool) -> None:
    """One forward pass; in training with loss and backward pass."""
    if not train:
        with torch.inference_mode():
            model(batch.composite, batch.mask, batch.labels)
        return
    model.zero_grad(set_to_none=True)
    out = model(batch.composite, batch.mask, batch.labels)
    harmonization_loss(out, batch.real, batch.mask, batch.labels, refine=model.refines).total.mean().backward()


def multiply_adds(model: Network, batch: Batch, train: bool) -> float:
    """Those of one run."""
    with FlopCounterMode(display=False) as counter:
        run(model, batch, train)
    return counter.get_total_flops() / 2


def timed(
    model: Network,
    batch: Batch,
    device: Device,
    train: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of one run."""
    device.wait()
    start = clock()
    run(model, batch, train)
    device.wait()
    return clock() - start


def peak_memory(build: Build, batch: Batch, device: Device, train: bool) -> float:
    """The most bytes that one run takes beyond model and batch: on a CPU the first run of a new process."""
    if device.is_gpu:
        run(build().to(device.device).train(train), batch, train)
        device.forget_peak()
        return _peak_memory(build, batch, device, train)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_memory, build, batch, device, train).result()


def _peak_memory(build: Build, batch: Batch, device: Device, train: bool) -> float:
    return_memory()
    model = build().to(device.device).train(train)
    device.forget_peak()
    before = device.peak()
    run(model, batch, train)
    return device.peak() - before


def print_heading(batches: Sequence[Batch], device: Device) -> None:
    """The command, the machine and the images."""
    about = facts(device.device)
    where = about["device"] if device.is_gpu else f"{about['cpu']}, {about['threads']} threads"
    print(f"{command()}   commit {about['commit'] or 'unknown'}, torch {about['torch']}, {where}")
    share, count = (
        statistics.mean(x) for x in zip(*((b.mask.mean().item(), int(b.labels.max())) for b in batches), strict=True)
    )
    print(f"{len(batches)} composites at 256x256, foreground {100 * share:.1f} %, K {count:.1f} on average")
