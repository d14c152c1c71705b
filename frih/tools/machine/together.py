"""Synchronised normalisation and averaged gradients: several processes with a part of a batch each, against one process."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException, spawn

from frih.common.devices import CPU
from frih.common.distributed import World
from frih.config import Config
from frih.data.batches import Batch
from frih.tools.machine.record import Row, judged, skipped
from frih.tools.machine.right import allowed, exact_batch, relative, train_once
from frih.tools.machine.setting import Setting, trained_like, with_changes

WIDTH = 8
"""Channels of each layer of the network. What is checked lies between the layers."""
PATIENCE = 120.0
"""Seconds that the processes may take."""
Found = tuple[Tensor, Tensor, Tensor]
"""Images (2, B, 3, H, W), gradient and running statistics of a training step; float64, on the CPU."""


def check(setting: Setting) -> Iterator[Row]:
    """One process, then as many as there are GPUs; on a CPU two."""
    gpu = setting.device.is_gpu
    backend = "nccl" if gpu else "gloo"
    name = f"synchronised normalisation ({backend.upper() if gpu else 'Gloo'})"
    if not dist.is_available():
        yield skipped(name, "this PyTorch has no torch.distributed")
        return
    if gpu and not dist.is_nccl_available():
        yield skipped(name, "this PyTorch has no NCCL: several GPUs cannot train together")
        return
    several = torch.cuda.device_count() if gpu else 2
    for size in sorted({1, several}):
        yield compare(setting, backend, size, f"{name}, {size} process{'es' * (size > 1)}")
    if several == 1:
        yield skipped(f"{name}, several processes", "there is one GPU")


def compare(setting: Setting, backend: str, size: int, name: str) -> Row:
    """So many processes against an ordinary network in float64."""
    few = (WIDTH,) * 7
    widths = {"base_widths": few, "base_decoder_width": WIDTH, "cascade_widths": few, "head_width": WIDTH}
    config = with_changes(setting.recipe(), {"model": {"cascade": True, "norm": "batch", **widths}})
    batch = exact_batch(setting, least=4, multiple=size)
    found = in_processes(config, batch, size, backend, setting.folder)
    reference = step(trained_like(config).double(), batch, config)
    kinds = ("images", "gradient", "statistics")
    errors = {kind: relative(*pair) for kind, pair in zip(kinds, zip(found, reference, strict=True), strict=True)}
    bounds = allowed("fp32", batch.labels.numel())
    limits = {"images": bounds["training"], "gradient": bounds["gradient"], "statistics": bounds["training"]}
    return judged(name, errors, limits, kind="processes", processes=size)


def in_processes(config: Config, batch: Batch, size: int, backend: str, folder: Path) -> Found:
    """A training step of so many processes together.

    Raises:
        RuntimeError: a process failed, or took too long.
    """
    place = folder / f"together-{size}-{time.monotonic_ns()}"
    place.mkdir()
    end = time.monotonic() + PATIENCE
    running: Any = spawn(_member, (size, backend, config, batch, place), nprocs=size, join=False)  # type: ignore[no-untyped-call]
    try:
        while not running.join(max(0.0, end - time.monotonic())):
            if time.monotonic() > end:
                raise RuntimeError(f"the processes did not end in {PATIENCE:.0f} s")
    except ProcessException as error:
        raise RuntimeError(f"process {error.error_index}: {str(error).strip().splitlines()[-1]}") from None
    finally:
        for process in running.processes:
            process.kill()
            process.join()
    parts: list[Found] = [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(size)]
    return torch.cat([images for images, *_ in parts], dim=1), *parts[0][1:]


def _member(rank: int, size: int, backend: str, config: Config, batch: Batch, place: Path) -> None:
    """One process: a step with its part of the batch; the result goes into a file."""
    device = torch.device("cuda", rank) if backend == "nccl" else CPU
    if backend == "nccl":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    meeting = f"file://{place / 'meeting'}"
    wait = timedelta(seconds=PATIENCE)
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=size, timeout=wait)
    network = trained_like(config)
    model = World(rank, size, device).wrap(network)
    for module in network.modules():  # `wrap` does this for several processes only
        if hasattr(module, "synchronized"):
            module.synchronized = True  # type: ignore[assignment]
    torch.save(step(model, batch.parts(size)[rank], config), place / f"{rank}.pt")
    dist.destroy_process_group()


def step(model: nn.Module, batch: Batch, config: Config) -> Found:
    """Forward and backward in training mode."""
    images, gradient = train_once(model, batch, config)
    statistics = [buffer.flatten() for name, buffer in model.named_buffers() if "running" in name]
    return images, gradient, torch.cat(statistics).to(CPU, torch.float64)
