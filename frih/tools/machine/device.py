"""The device that is checked: its timings, its memory, and facts about the machine."""

import ctypes
import gc
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from frih import __version__
from frih.common.devices import device_name
from frih.common.processes import cores

GIB = 2**30


class Device:
    """A GPU or the CPU, with the same methods for both.

    Args:
        device: which one.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_gpu = device.type == "cuda"

    def wait(self) -> None:
        """Waits until the device has done all its work."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(
        self, work: Callable[[], object], *, warm: int = 2, least: float = 0.3, most: int = 20, least_rounds: int = 3
    ) -> float:
        """The median time of a piece of work. Waits for the device before and after each round.

        Args:
            work: the work of one round.
            warm: rounds at the start that do not count.
            least: seconds that the rounds take together, at least.
            most: rounds, at most.
            least_rounds: rounds, at least.
        """
        for _ in range(warm):
            work()
        self.wait()
        times: list[float] = []
        while len(times) < least_rounds or (len(times) < most and sum(times) < least):
            begun = time.perf_counter()
            work()
            self.wait()
            times.append(time.perf_counter() - begun)
        return statistics.median(times)

    def free(self) -> None:
        """Gives unused memory back to the system."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
        else:
            with suppress(OSError, AttributeError):  # not glibc
                ctypes.CDLL(None).malloc_trim(0)

    def forget_peak(self) -> None:
        """Restarts what :meth:`peak` measures."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):  # not Linux
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int | None:
        """Most bytes held since then: by tensors on a GPU, by the whole process on a CPU (None if it is not Linux)."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_gpu else _bytes("/proc/self/status", "VmHWM")

    def room(self) -> int | None:
        """Free bytes, where they must be known beforehand: a GPU raises an error when it has no more, so it gets None."""
        return None if self.is_gpu else _bytes("/proc/meminfo", "MemAvailable")

    @contextmanager
    def busy(self, work: Callable[[], object]) -> Iterator[None]:
        """Repeats some work in a thread while the ``with`` block runs.

        Raises:
            Exception: the work's own, at the end of the block.
        """
        stop = threading.Event()

        def repeat() -> None:
            while not stop.is_set():
                work()
                self.wait()

        with ThreadPoolExecutor(1) as pool:
            repeated = pool.submit(repeat)
            try:
                yield
            finally:
                stop.set()
        repeated.result()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short: PyTorch's own, or that of cuDNN, cuBLAS or the CPU allocator."""
    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def facts(device: torch.device) -> dict[str, Any]:
    """The machine's parts and versions, without names of hosts or folders."""
    gpu = device.type == "cuda"
    count = torch.cuda.device_count() if gpu else 0
    nccl = gpu and torch.distributed.is_available() and torch.distributed.is_nccl_available()
    return {
        "device": device_name(device) if gpu else "CPU",
        "cpu": _cpu(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": _gib(_bytes("/proc/meminfo", "MemTotal")),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "frih": __version__,
        "commit": _output("git", "-C", str(Path(__file__).parents[3]), "rev-parse", "--short", "HEAD"),
        "cuda": torch.version.cuda,
        "gpus": [
            {
                "name": one.name,
                "memory_gib": _gib(one.total_memory),
                "capability": f"{one.major}.{one.minor}",
                "multiprocessors": one.multi_processor_count,
            }
            for one in map(torch.cuda.get_device_properties, range(count))
        ],
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if nccl else None,  # type: ignore[no-untyped-call]
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
        if gpu
        else None,
        "cudnn": torch.backends.cudnn.version() if gpu else None,  # type: ignore[no-untyped-call]
    }


def command() -> str:
    """The command line of this process."""
    return " ".join(["python", *sys.argv])


def _cpu() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _bytes(file: str, field: str) -> int | None:
    """A field of one of Linux's tables, which are in kB."""
    with suppress(OSError, StopIteration):
        lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    return None


def _output(*words: str) -> str | None:
    """What a program prints, or None if it is missing or fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20, env=environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _gib(count: int | None) -> float | None:
    return None if count is None else round(count / GIB, 1)
