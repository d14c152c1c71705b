"""Devices as PyTorch names them: the CPU, CUDA's GPUs, Intel's (xpu), Apple's (mps). The last two are untried."""

from collections.abc import Sequence

import torch

from frih.common.errors import UserError

CPU = torch.device("cpu")
GPUS = ("cuda", "xpu", "mps")
"""Kinds of GPUs, in the order in which ``"auto"`` looks for one."""
BACKENDS = {"cuda": "nccl", "xpu": "xccl"}
"""What connects the processes of a run on GPUs of a kind. Apple's have none: only one process can use them."""


def choose_device(
    name: str | torch.device,
    asked: str = "device",
    *,
    process: int = 0,
    processes: int = 1,
    kinds: Sequence[str] = GPUS,
) -> torch.device:
    """The device that a name means for one of the processes of a machine.

    Args:
        name: ``"auto"``, ``"cpu"``, or a kind of GPU, with a number or without: ``"cuda:1"``.
        asked: the key or option that gives the name, for messages.
        process: the process's number on its machine. Without a number, each takes the GPU of its own.
        processes: how many there are on the machine.
        kinds: those that the caller knows.

    Raises:
        UserError: there is no such device here, or not one for each process.
    """
    if name == "auto":
        able = [kind for kind in kinds if count(kind) and (processes == 1 or kind in BACKENDS)]
        name = able[0] if able else "cpu"
    try:
        wanted = torch.device(name)
    except (RuntimeError, TypeError):
        wanted = None
    if wanted is None or wanted.type not in ("cpu", *kinds):
        raise UserError(f"{asked}: there is no device {str(name)!r}; take auto, cpu or {', '.join(kinds)}")
    kind, index, there = wanted.type, wanted.index, count(wanted.type)
    if kind == "cpu":
        return CPU
    if not there:
        raise UserError(f"{asked}: {name} was asked for, but PyTorch sees no GPU of that kind; take cpu or auto")
    if index is not None and index >= there:
        raise UserError(f"{asked}: there is no {name}; PyTorch sees {there} of that kind, counted from 0")
    if processes > 1 and kind not in BACKENDS:
        raise UserError(f"{asked}: only one process can use {name}; start one, or take cpu")
    if processes > 1 and index is not None:
        raise UserError(f"{asked}: {name} is one GPU, and this machine has {processes} processes; take {kind}")
    if processes > there:
        raise UserError(f"torchrun: {processes} processes of this machine have {there} GPUs; start at most {there}")
    if kind == "mps":
        return torch.device(kind)
    return torch.device(kind, process if index is None else index)


def device_name(device: torch.device) -> str:
    """What the maker calls a GPU, as ``NVIDIA H100``; or CPU."""
    if device.type in BACKENDS:
        return str(getattr(torch, device.type).get_device_name(device))
    return "Apple's GPU" if device.type == "mps" else device.type.upper()


def count(kind: str) -> int:
    """How many GPUs of a kind PyTorch sees."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    return module.device_count() if module and kind in GPUS and module.is_available() else 0


def is_pinnable(device: torch.device) -> bool:
    """Whether copies from pinned memory to a device need not wait. On Apple's they give wrong values (PyTorch's #139550)."""
    return device.type == "cuda"


def wait(device: torch.device) -> None:
    """Waits until a device has done all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that tensors have held on a GPU; None where PyTorch does not count them, or memory is the system's."""
    return getattr(torch, device.type).max_memory_allocated(device) if device.type in BACKENDS else None
