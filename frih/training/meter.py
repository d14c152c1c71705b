"""Figures of training, summed up between two lines of the log."""

import math
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from frih.common.devices import peak_memory
from frih.common.distributed import World

Item = TypeVar("Item")


class Meter:
    """Means over the steps since the last line of the log.

    Each process keeps its own sums until they are read, so that a resumed run continues with the same bits.

    Args:
        names: of the figures.
        most: the most submasks an image can have.
        world: whose processes share the steps.
    """

    def __init__(self, names: Sequence[str], most: int, world: World) -> None:
        self.names, self.most, self.world = tuple(names), most, world
        self.sums = torch.zeros(1 + len(self.names), device=world.device)
        """Steps, and each figure's sum."""
        self.histogram = torch.zeros(most + 1)
        """How many images had 0, 1, ... submasks."""
        self.restart()

    def restart(self) -> None:
        """Starts counting again."""
        self.sums.zero_()
        self.histogram.zero_()
        self.restart_clock()

    def restart_clock(self) -> None:
        """Starts timing again."""
        self.waited = self.last_wait = 0.0
        self.pairs: list[Tensor] = []
        self.images = 0
        self.begun = time.perf_counter()

    def add(self, figures: Sequence[Tensor], submasks: Tensor, counts: Tensor | None = None) -> None:
        """Counts a step.

        Args:
            figures: this process's value of each of the names.
            submasks: (B,), integers on the CPU: K of each of this process's images.
            counts: (), bool: whether the figures count; they do not where a step is left out.
        """
        taken = torch.stack([self.sums.new_ones(()), *figures]).detach()
        self.sums += taken if counts is None else torch.where(counts, taken, torch.zeros_like(taken))
        self.histogram += torch.bincount(submasks, minlength=self.most + 1)
        self.pairs.append(submasks.sum())
        self.images += len(submasks)

    def waiting(self, loader: Iterable[Item]) -> Iterator[Item]:
        """The items of the loader, while the time until each arrives is counted."""
        items = iter(loader)
        while True:
            begun = time.perf_counter()
            try:
                item = next(items)
            except StopIteration:
                return
            self.last_wait = time.perf_counter() - begun
            self.waited += self.last_wait
            yield item

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around work that does not count as training time."""
        begun = time.perf_counter()
        yield
        self.begun += time.perf_counter() - begun

    def read(self, *, restart: bool = True) -> dict[str, float | list[float]]:
        """Means and timings over all processes, and a new start unless that is not wanted. Every process must call it.

        ``train/<name>``; ``train/submasks``, the mean of K; ``train/submask_histogram``, how many images have K = 0, 1, ...;
        ``time/images_per_second``; ``time/data_wait``, the share of the time in which the main process waited for images;
        ``time/imbalance``, by how much the fullest process exceeds the mean number of (image, submask) pairs; and
        ``time/memory_gib``, the peak memory of the GPU, or without one of the process.
        """
        steps, *figures = self.world.sum(self.sums).tolist()
        seconds = time.perf_counter() - self.begun
        histogram = self.world.sum(self.histogram).tolist()
        images = sum(histogram)
        values: dict[str, float | list[float]] = {
            f"train/{name}": total / steps if steps else math.nan
            for name, total in zip(self.names, figures, strict=True)
        }
        values["train/submasks"] = sum(k * count for k, count in enumerate(histogram)) / images if images else math.nan
        values["train/submask_histogram"] = histogram
        pairs = torch.stack(self.pairs).float().cpu() if self.pairs else torch.zeros(0)
        values["time/images_per_second"] = self.images * self.world.size / seconds
        values["time/data_wait"] = self.waited / seconds
        values["time/imbalance"] = _imbalance(torch.stack(self.world.gather(pairs)))
        values["time/memory_gib"] = _memory(self.world.device)
        if restart:
            self.restart()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Sums of all processes, by rank. Every process must call it."""
        own = torch.cat([self.sums.cpu(), self.histogram])
        return {"names": list(self.names), "sums": torch.stack(self.world.gather(own))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from saved sums. Another number of processes shares them equally."""
        sums: Tensor = state["sums"]
        own = sums[self.world.rank] if len(sums) == self.world.size else sums.sum(dim=0) / self.world.size
        self.sums.copy_(own[: len(self.sums)])
        self.histogram.copy_(own[len(self.sums) :])


def _imbalance(pairs: Tensor) -> float:
    """Pairs (processes, steps) to the mean over steps of the fullest process over the mean process, less 1."""
    mean = pairs.mean(dim=0)
    shares = pairs.amax(dim=0)[mean > 0] / mean[mean > 0]
    return shares.mean().item() - 1 if len(shares) else 0.0


def _memory(device: torch.device) -> float:
    on_gpu = peak_memory(device)
    return on_gpu / 2**30 if on_gpu is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
