"""The processes of a run. Nothing else asks whether a run is distributed."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from frih.common.devices import BACKENDS, CPU, choose_device
from frih.common.errors import LostConnectionError, SharedError, UserError, alike, describe
from frih.common.memory import keep_memory

TIMEOUT = timedelta(minutes=10)
"""A process that keeps the others waiting for longer ends the run. A process that fails ends it at once."""


@dataclass(frozen=True)
class World:
    """This process's place among the processes of a run. By default it is the only one."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Moves a model to this process's device and, among several processes, averages its gradients over them.

        Batch normalisation then takes the statistics of the whole batch, as in one process.
        """
        model = model.to(self.device)
        if self.size == 1:
            return model
        for module in model.modules():
            if hasattr(module, "synchronized"):
                module.synchronized = True  # type: ignore[assignment]
        return DistributedDataParallel(model)  # without device_ids, which would send labels to the GPU

    def part(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Around one of several backward passes of a step. Only the ``last`` averages the gradients over the processes."""
        return model.no_sync() if self.size > 1 and not last else nullcontext()  # type: ignore[operator]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        dist.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a tensor over all processes."""
        return values if self.size == 1 else self.sum(values) / self.size

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process sets it."""
        if self.size == 1:
            return list(flags)
        return [
            count > 0 for count in self.sum(torch.tensor(flags, dtype=torch.float32)).tolist()
        ]  # on CPUs: no GPU waits

    def gather(self, value: Any) -> list[Any]:
        """Everyone's value, in the order of ranks, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around work that each process does by itself. A failure of one is raised in all, so that none waits for it.

        Raises:
            SharedError: the failure of the first process that failed.
        """
        if self.size == 1:
            yield
            return
        failure: str | None = None
        try:
            yield
        except (UserError, OSError) as error:
            failure = describe(error)
        failures = self.gather(failure)
        for rank, message in enumerate(failures):
            if message is not None:
                others = any(other != message for other in failures)
                raise SharedError(f"{message} (process {rank})" if others else message) from None

    def barrier(self) -> None:
        """Waits until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def connect(device: str = "auto") -> Iterator[World]:
    """Joins the processes of a run (or makes a world of one) for the length of a ``with`` block.

    ``torchrun`` or ``scripts/slurm.sh`` set the environment that says where they meet: ``WORLD_SIZE``, ``RANK``,
    ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    Args:
        device: ``train.device``; on GPUs each process of a machine takes its own.

    Raises:
        UserError: there is no such device here, or not one for each process.
        LostConnectionError: another process ended.
    """
    size, local_rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    known = os.environ.get("LOCAL_WORLD_SIZE")  # torchrun sets it; with others at least those up to this one are here
    here = int(known or local_rank + 1) if size > 1 else 1
    with alike() if known or size == 1 else nullcontext():  # without it an error may be this process's alone
        chosen = choose_device(device, "train.device", process=local_rank, processes=here)
        backend = BACKENDS.get(chosen.type)
        if size > 1 and backend and not dist.is_backend_available(backend):
            raise UserError(
                f"train.device: this PyTorch has no {backend}, which {chosen.type} needs for several processes"
            )
    if chosen.type == "cpu":
        keep_memory()
    if chosen.index is not None:
        getattr(torch, chosen.type).set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen)
        return
    dist.init_process_group(f"cpu:gloo,{chosen.type}:{backend}" if backend else "gloo", timeout=TIMEOUT)
    try:
        yield World(dist.get_rank(), size, chosen)
    except RuntimeError as error:  # only its words tell an error of the connection
        if not any(word in str(error) for word in ("gloo", "NCCL", "Connection closed", "Connection reset")):
            raise
        raise LostConnectionError(
            f"ended, because another process of the run ended; its message says why ({_first(error)})"
        ) from None
    dist.destroy_process_group()  # not after an error: that would wait for the others


def _first(error: Exception) -> str:
    line: str = str(error).splitlines()[0]
    return line if len(line) < 80 else line[:76] + " ..."


def set_tf32(on: bool) -> None:
    """Lets GPUs multiply float32 with the 10 bits of mantissa of TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
