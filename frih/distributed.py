"""One process among several: a value that is handed around, so that nothing else asks whether a run is distributed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frih.errors import UserError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class World:
    """This process's place among the processes of a run; the defaults are those of a run that has only one."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Moves a model to this process's device and, among several processes, averages its gradients over them.

        Its batch normalisation then takes the statistics of the whole batch, as in one process.
        """
        model = model.to(self.device)
        if self.size == 1:
            return model
        for module in model.modules():
            if hasattr(module, "synchronized"):
                module.synchronized = True  # type: ignore[assignment]
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def any(self, flag: bool) -> bool:
        """Whether any process says yes."""
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: Any) -> list[Any]:
        """Everyone's value, in the order of ranks, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        """Waits until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def connect(device: str = "auto") -> Iterator[World]:
    """Joins the processes that ``torchrun`` started (or makes a world of one) for the length of a ``with`` block.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; on GPUs each process of a machine takes its own.

    Raises:
        UserError: ``"cuda"`` was asked for and there is no GPU, or not one for each process.
    """
    size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if size == 1:
        yield World(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(minutes=10))
    try:
        yield World(dist.get_rank(), size, chosen)
    finally:
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device that ``"auto"``, ``"cpu"`` or ``"cuda"`` means for a machine's process number ``local_rank``.

    Raises:
        UserError: there is no such GPU.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and gpus == 0):
        return CPU
    if gpus == 0:
        raise UserError("device: cuda was asked for, but PyTorch sees no GPU; take cpu or auto (train.device)")
    if local_rank >= gpus:
        raise UserError(f"torchrun: process {local_rank} of this machine has no GPU of its own; start at most {gpus}")
    return torch.device("cuda", local_rank)
