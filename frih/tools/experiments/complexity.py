"""The network's costs by part: parameters, multiply-adds, time and memory (the paper's Table 6 and more).

Multiply-adds are those of the convolutions and matrix products that run, counted by PyTorch. All costs except the parameters
depend on the image: on its foreground, where the sparse default works, and on K, its number of submasks.
"""

import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from frih.models import FRIH, refine

PARTS = ("base", "cascade", "head")
"""The network's parts, by attribute."""
IN_TILES = ("encode_near", "decode_windows")
"""What the cascade does in tiles, in :mod:`frih.models.refine`."""

Costs = dict[str, float]
"""Costs by part, and of the whole as ``all``, with what is between the parts."""
Inputs = tuple[Tensor, Tensor, Tensor]
"""Composite (1, 3, H, W), mask (1, 1, H, W) and labels (1, H, W) of one image."""

_MMAP_THRESHOLD = "65536"


def made_image(size: int, share: float, count: int, device: torch.device | None = None) -> Inputs:
    """An image of noise whose foreground is a centred square, cut into bands of equal height.

    Args:
        size: its side in pixels.
        share: of its pixels that are foreground, as nearly as a square allows.
        count: K, the number of submasks.
        device: of the result.
    """
    side = max(count, round(size * math.sqrt(share)))
    first = (size - side) // 2
    labels = torch.zeros(1, size, size, dtype=torch.uint8)
    bands = torch.arange(side) * count // side + 1
    labels[:, first : first + side, first : first + side] = bands.byte()[:, None]
    composite = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    mask = (labels > 0).float().unsqueeze(1)
    return composite.to(device), mask.to(device), labels.to(device)


def parameters(model: FRIH) -> Costs:
    """Parameters of each part and of all. Weights of normalisation count, running statistics do not."""
    counts: Costs = {
        name: sum(one.numel() for one in part.parameters())
        for name in PARTS
        if isinstance(part := getattr(model, name), nn.Module)
    }
    return {**counts, "all": sum(counts.values())}


def multiply_adds(model: FRIH, inputs: Inputs) -> Costs:
    """Multiply-adds of one forward pass, in the mode the model is in."""
    costs: Costs = {}

    @contextmanager
    def meter(part: str) -> Iterator[None]:
        with FlopCounterMode(display=False) as counter:
            yield
        costs[part] = costs.get(part, 0) + counter.get_total_flops() / 2

    _run(model, inputs, meter)
    return costs


def seconds(model: FRIH, inputs: Inputs, rounds: int) -> Costs:
    """Seconds of one forward pass: medians over some rounds, after one that does not count."""
    _run(model, inputs, partial(_stopwatch, {}, inputs[0].device))
    times: list[Costs] = []
    for _ in range(rounds):
        costs: Costs = {}
        _run(model, inputs, partial(_stopwatch, costs, inputs[0].device))
        times.append(costs)
    return {part: statistics.median(costs[part] for costs in times) for part in times[0]}


def peak_memory(build: Callable[[], FRIH], inputs: Inputs) -> Costs:
    """The most bytes held while each part works, beyond the model and its input. Results of earlier parts count.

    On a CPU this is the memory of a new process (Linux; elsewhere the result is empty), on CUDA that of the allocator.

    Args:
        build: makes the model, in the new process.
        inputs: one image.
    """
    if inputs[0].is_cuda:
        return _peaks(build, inputs)
    if not Path("/proc/self/clear_refs").exists():
        return {}
    before = os.environ.get("MALLOC_MMAP_THRESHOLD_")
    os.environ["MALLOC_MMAP_THRESHOLD_"] = _MMAP_THRESHOLD  # freed memory goes back to the system at once
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_peaks, build, inputs).result()
    finally:
        del os.environ["MALLOC_MMAP_THRESHOLD_"]
        if before is not None:
            os.environ["MALLOC_MMAP_THRESHOLD_"] = before


def _run(model: FRIH, inputs: Inputs, meter: Callable[[str], AbstractContextManager[None]]) -> None:
    """One forward pass, with a context around each part and around the whole."""
    with _metered(model, meter), torch.inference_mode(), meter("all"):
        model(*inputs)


@contextmanager
def _metered(model: FRIH, meter: Callable[[str], AbstractContextManager[None]]) -> Iterator[None]:
    """Puts a meter around the functions in which the parts work."""

    def inside(part: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **kwargs: Any) -> Any:
            with meter(part):
                return method(*args, **kwargs)

        return measured

    with ExitStack() as stack:
        for part, owner, name in _places(model):
            stack.enter_context(patch.object(owner, name, inside(part, getattr(owner, name))))
        yield


def _places(model: FRIH) -> list[tuple[str, Any, str]]:
    """The functions in which the parts work: part, the object that holds the function, its name."""
    base: list[tuple[str, Any, str]] = [("base", model.base, "forward")]
    if model.cascade is None:
        return base
    if model.dense:
        return [*base, ("cascade", model.cascade, "forward"), ("head", model.head, "forward")]
    cascade = [("cascade", model.cascade, name) for name in ("encode", "share")]
    return [*base, *cascade, *(("cascade", refine, name) for name in IN_TILES), ("head", refine, "predict")]


@contextmanager
def _stopwatch(costs: Costs, device: torch.device, part: str) -> Iterator[None]:
    _wait(device)
    start = time.perf_counter()
    yield
    _wait(device)
    costs[part] = costs.get(part, 0) + time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peaks(build: Callable[[], FRIH], inputs: Inputs) -> Costs:
    cuda = inputs[0].is_cuda
    model = build().to(inputs[0].device).eval()
    _run(model, inputs, lambda part: _stopwatch({}, inputs[0].device, part))  # makes what is kept
    before = torch.cuda.memory_allocated() if cuda else _status("VmRSS")
    costs: Costs = {}

    @contextmanager
    def meter(part: str) -> Iterator[None]:
        if part != "all":
            torch.cuda.reset_peak_memory_stats() if cuda else Path("/proc/self/clear_refs").write_text("5")
        yield
        if part != "all":
            peak = torch.cuda.max_memory_allocated() if cuda else _status("VmHWM")
            costs[part] = max(costs.get(part, 0), peak - before)

    _run(model, inputs, meter)
    return {**costs, "all": max(costs.values())}


def _status(field: str) -> int:
    """Bytes of a field of this process's status (Linux): VmRSS, what it holds; VmHWM, the most since that was last reset."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
