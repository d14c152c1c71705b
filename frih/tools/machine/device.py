"""The device that is looked at: waiting for it, timing it, its memory, and what the machine calls itself."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from frih import __version__
from frih.common.processes import cores

GIB = 2**30


class Device:
    """A GPU, or the CPU, by one set of words.

    Args:
        device: which.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_gpu = device.type == "cuda"

    def wait(self) -> None:
        """Until all that it was given is done."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(
        self, work: Callable[[], object], *, warm: int = 2, least: float = 0.3, most: int = 20, least_rounds: int = 3
    ) -> float:
        """The median time of a piece of work; the device is waited for before and after each.

        Args:
            work: is done again and again.
            warm: times that do not count, first.
            least: seconds to be filled with it.
            most: times, at most.
            least_rounds: times, at least.
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
        """Gives back what no one holds."""
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            return
        with suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)

    def forget_peak(self) -> None:
        """Counts :meth:`peak` from now on."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with suppress(OSError):  # not Linux
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int | None:
        """Most bytes held since then: on a GPU by tensors, on a CPU by the whole process (Linux; elsewhere None)."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_gpu else _kilobytes("/proc/self/status", "VmHWM")

    def room(self) -> int | None:
        """Bytes that can still be had: None where that is not known. GPUs tell by themselves when there are no more."""
        return None if self.is_gpu else _kilobytes("/proc/meminfo", "MemAvailable")

    @contextmanager
    def busy(self, work: Callable[[], object]) -> Iterator[None]:
        """Keeps it at work, from a thread, while the ``with`` block runs.

        Raises:
            Exception: what the work raised, when the block ends.
        """
        stop, failures = threading.Event(), list[Exception]()

        def repeat() -> None:
            try:
                while not stop.is_set():
                    work()
                    self.wait()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        if failures:
            raise failures[0]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is too little memory: PyTorch's own, or cuDNN's, cuBLAS's or the CPU allocator's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def facts(device: torch.device) -> dict[str, Any]:
    """What the machine is and what runs on it; no names of hosts or folders."""
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "cpu": _cpu(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": _gib(_kilobytes("/proc/meminfo", "MemTotal")),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "frih": __version__,
        "commit": _output("git", "-C", str(Path(__file__).parents[3]), "rev-parse", "--short", "HEAD"),
        "cuda": torch.version.cuda,
        "gpus": [],
        "nccl": None,
        "driver": None,
        "cudnn": None,
    }
    if device.type == "cuda":
        every = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        found["gpus"] = [
            {
                "name": one.name,
                "memory_gib": _gib(one.total_memory),
                "capability": f"{one.major}.{one.minor}",
                "multiprocessors": one.multi_processor_count,
            }
            for one in every
        ]
        found["driver"] = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0")
        found["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        if torch.distributed.is_available() and torch.distributed.is_nccl_available():
            found["nccl"] = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
    return found


def command() -> str:
    """What was typed."""
    return " ".join(["python", *sys.argv])


def _cpu() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _kilobytes(file: str, field: str) -> int | None:
    """Bytes of a field of one of Linux's tables."""
    with suppress(OSError, StopIteration):
        lines = Path(file).read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
    return None


def _output(*words: str) -> str | None:
    """What a program says, or None where it is not there or fails."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=20, env={**os.environ, "LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _gib(count: int | None) -> float | None:
    return None if count is None else round(count / GIB, 1)
