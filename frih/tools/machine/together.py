"""Synchronised normalisation and averaged gradients: processes with a part of a batch each, against one with all of it."""

import math
import multiprocessing
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from frih.common.distributed import CPU, World
from frih.config import Config
from frih.data.batches import Batch
from frih.losses import harmonization_loss
from frih.models import FRIH
from frih.tools.machine.record import Row, Task, judged, skipped
from frih.tools.machine.right import allowed, exact_batch, flat_gradient, relative
from frih.tools.machine.setting import Setting, set_tf32, trained_like, with_changes

WIDTH = 8
"""Channels of the network's layers: it is about what lies between them."""
PATIENCE = 120.0
"""Seconds after which processes that have not ended are given up."""


def tasks(setting: Setting) -> list[Task]:
    """One process, then as many as there are GPUs; on a CPU two."""
    return [Task("right", "synchronised normalisation", lambda: check(setting), 0.55)]


def check(setting: Setting) -> Iterator[Row]:
    """A row for each number of processes."""
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
    config = narrow(setting.recipe())
    batch = exact_batch(setting)
    count = size * math.ceil(max(4, len(batch.name)) / size)
    batch = _repeated(batch, count)
    found = in_processes(config, batch, size, backend, setting.folder)
    reference = step(trained_like(config).double(), None, batch, config)
    bounds = allowed("fp32", batch.labels.numel())
    images, gradient, statistics = (relative(mine, theirs) for mine, theirs in zip(found, reference, strict=True))
    errors = {"images": images, "gradient": gradient, "statistics": statistics}
    limits = {"images": bounds["training"], "gradient": bounds["gradient"], "statistics": bounds["training"]}
    return judged(name, errors, limits, kind="processes", processes=size)


def in_processes(config: Config, batch: Batch, size: int, backend: str, folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Images, gradient and running statistics of a step that so many processes take together.

    Raises:
        RuntimeError: a process failed, or did not end.
    """
    context = multiprocessing.get_context("spawn")
    place = folder / f"together-{size}-{time.monotonic_ns()}"
    place.mkdir()
    members = [
        context.Process(target=_member, args=(rank, size, backend, config, batch, place)) for rank in range(size)
    ]
    for member in members:
        member.start()
    end = time.monotonic() + PATIENCE
    for member in members:
        member.join(max(0.0, end - time.monotonic()))
    late = [member for member in members if member.is_alive()]
    for member in late:
        member.kill()
        member.join()
    if late or any(member.exitcode for member in members):
        told = [path.read_text(encoding="utf-8") for path in sorted(place.glob("*.txt"))]
        raise RuntimeError(
            f"{len(late)} of {size} processes did not end in {PATIENCE:.0f} s; {' '.join(told) or 'no word'}"
        )
    parts = [torch.load(place / f"{rank}.pt", weights_only=True) for rank in range(size)]
    images = torch.empty(2, len(batch.name), *parts[0][0].shape[2:], dtype=torch.float64)
    for rank, part in enumerate(parts):
        images[:, rank::size] = part[0]
    return images, parts[0][1], parts[0][2]


def _member(rank: int, size: int, backend: str, config: Config, batch: Batch, place: Path) -> None:
    """One process: its part of the batch, a step, and its result into a file."""
    try:
        device = torch.device("cuda", rank) if backend == "nccl" else CPU
        if backend == "nccl":
            torch.cuda.set_device(device)
        else:
            torch.set_num_threads(1)
        set_tf32(False)
        dist.init_process_group(
            backend,
            init_method=f"file://{place / 'meeting'}",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=PATIENCE),
        )
        network = trained_like(config)
        world = World(rank, size, device)
        model = world.wrap(network)
        for module in network.modules():  # which `wrap` does among several
            if hasattr(module, "synchronized"):
                module.synchronized = True  # type: ignore[assignment]
        mine = Batch(*(field[rank::size] for field in batch))  # type: ignore[arg-type]
        torch.save(step(network, model, mine, config), place / f"{rank}.pt")
        dist.destroy_process_group()
    except Exception as error:
        (place / f"{rank}.txt").write_text(f"process {rank}: {type(error).__name__}: {error}", encoding="utf-8")
        raise


def step(network: FRIH, model: torch.nn.Module | None, batch: Batch, config: Config) -> tuple[Tensor, Tensor, Tensor]:
    """Images (2, B, 3, H, W), gradient and running statistics, after forward and backward in training mode; float64, CPU."""
    first = next(network.parameters())
    composite, real, mask = (x.to(first.device, first.dtype) for x in (batch.composite, batch.real, batch.mask))
    labels = batch.labels.to(first.device)
    out = (model or network).train()(composite, mask, labels)
    loss = harmonization_loss(out, real, mask, labels, min_area=config.loss.min_area, equal=config.loss.equal)
    loss.total.mean().backward()  # type: ignore[no-untyped-call]
    statistics = [buffer.flatten() for name, buffer in network.named_buffers() if "running" in name]
    rows = torch.stack(list(out)), flat_gradient(network), torch.cat(statistics)
    images, gradient, running = (row.detach().to(CPU, torch.float64) for row in rows)
    return images, gradient, running


def narrow(config: Config) -> Config:
    """The recipe with a network of few channels, and a cascade and normalisation, whatever it says."""
    few = (WIDTH,) * 7
    widths = {"base_widths": few, "base_decoder_width": WIDTH, "cascade_widths": few, "head_width": WIDTH}
    return with_changes(config, {"model": {"cascade": True, "norm": "batch", **widths}})


def _repeated(batch: Batch, count: int) -> Batch:
    """A batch of so many images, the last one its own last."""
    own = len(batch.name)
    order = [*(i % own for i in range(count - 1)), own - 1]
    index = torch.tensor(order)
    fields = (field[index] if isinstance(field, Tensor) else [field[i] for i in order] for field in batch)
    return Batch(*fields)  # type: ignore[arg-type]
