"""What is watched while a network trains: figures summed up between two lines of the log, and what is not finite."""

import math
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from frih.common.distributed import World
from frih.data.loader import Batch
from frih.models.output import Output

Item = TypeVar("Item")


class Meter:
    """Means over the steps since the last line of the log.

    Figures are kept by process until they are read, so that a run goes on with the very bits it stopped with.

    Args:
        names: of the figures.
        most: the most submasks an image can have.
        world: whose processes share the steps.
    """

    def __init__(self, names: Sequence[str], most: int, world: World) -> None:
        self.names, self.most, self.world = tuple(names), most, world
        self.sums = torch.zeros(1 + len(self.names) + most + 1, device=world.device)
        """Steps, each figure's sum, and how many images had 0, 1, ... submasks."""
        self.restart()

    def restart(self) -> None:
        """Forgets everything, as after a line of the log."""
        self.sums.zero_()
        self.restart_clock()

    def restart_clock(self) -> None:
        """Forgets the timings alone, which no run goes on with."""
        self.waited = self.last_wait = 0.0
        self.pairs: list[Tensor] = []
        self.images = 0
        self.begun = time.perf_counter()

    def add(self, figures: Sequence[Tensor], submasks: Tensor) -> None:
        """Counts a step.

        Args:
            figures: this process's value of each of the names.
            submasks: (B,), integers: K of each of this process's images.
        """
        counts = torch.bincount(submasks, minlength=self.most + 1)
        taken = torch.stack([self.sums.new_ones(()), *figures]).detach()
        self.sums += torch.cat([taken, counts.to(taken)])
        self.pairs.append(submasks.sum())
        self.images += len(submasks)

    def waiting(self, loader: Iterable[Item]) -> Iterator[Item]:
        """The same items; how long they are waited for is counted."""
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
        """Around what is no part of the training, and of no timing."""
        begun = time.perf_counter()
        yield
        self.begun += time.perf_counter() - begun

    def read(self) -> dict[str, float | list[float]]:
        """The means and timings, over all processes; counting starts anew. Every process must call it.

        ``train/<name>``; ``train/submasks``, the mean of K, and ``train/submask_histogram``, the images of K = 0, 1, ...;
        ``time/images_per_second``; ``time/data_wait``, the share of the time that the main process waited for images;
        ``time/imbalance``, how many more (image, submask) pairs than the mean the fullest process of a step had; and
        ``time/memory_gib``, the most that the GPU held, or without one, the process.
        """
        steps, *sums = self.world.sum(self.sums).tolist()
        seconds = time.perf_counter() - self.begun
        figures, histogram = sums[: len(self.names)], sums[len(self.names) :]
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
        self.restart()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Sums of all processes, by rank. Every process must call it."""
        return {"names": list(self.names), "sums": torch.stack(self.world.gather(self.sums.cpu()))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from saved sums; among another number of processes, each with an equal share."""
        sums: Tensor = state["sums"]
        own = sums[self.world.rank] if len(sums) == self.world.size else sums.sum(dim=0) / self.world.size
        self.sums.copy_(own)


class Gate:
    """Watches whether the base network's blending layer closes (:class:`~frih.models.output.Output`).

    A gate that closes gives the composite back and lets ever less gradient through: the network then learns next to nothing.

    Args:
        output: the base network's last layer.
    """

    CLOSED, LEARNT = 0.8, 0.97
    """It is closed when its mean in the foreground is above the first, while the coarse loss is still above the second times
    that of an unchanged composite. Seen closing at full width: 0.85 and 0.998 after 200 steps (docs/experiments.md, 6)."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.names = ("gate",) if output.attention is not None else ()
        self.told = False

    def mean(self, mask: Tensor) -> list[Tensor]:
        """The last gate's mean over an image's foreground (all of an image without any), mean over images: one of each name.

        Args:
            mask: (N, 1, H, W), 1 = foreground, of the images that the network has just seen.
        """
        if self.output.gate is None:
            return []
        where = torch.where(mask.amax(dim=(2, 3), keepdim=True) > 0, mask, torch.ones_like(mask))
        means = (self.output.gate.float() * where).sum(dim=(1, 2, 3)) / where.sum(dim=(1, 2, 3))
        return [means.mean()]

    def warning(self, figures: Mapping[str, Any], step: int) -> str | None:
        """What to say, once, of the figures of a line of the log."""
        mean = figures.get("train/gate", 0.0)
        if self.told or not mean > self.CLOSED:
            return None
        if not figures["train/loss_coarse"] > self.LEARNT * figures["train/loss_unchanged"]:
            return None
        self.told = True
        return (
            f"step {step}: the blending layer's gate has closed (mean {mean:.3f} in the foreground): the base network gives "
            "the composite back and learns next to nothing. Begin anew with model.residual=true; docs/training.md says more"
        )


def first_nonfinite(network: nn.Module, batch: Batch) -> str | None:
    """Where the first value that is not finite comes from: a weight, or the output of a module, by its name; None: elsewhere.

    Runs the batch through the network once more. Every process must call it, for they share the statistics of batches.
    """
    for name, parameter in network.named_parameters():
        if not parameter.isfinite().all():
            return f"the weights {name}"
    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not output.isfinite().all():
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(look(name)) for name, module in network.named_modules() if name]
    buffers = [buffer.clone() for buffer in network.buffers()]
    try:
        with torch.no_grad():
            network.forward(batch.composite, batch.mask, batch.labels)  # a compiled call would not see the hooks
    finally:
        for hook in hooks:
            hook.remove()
        restore(network.buffers(), buffers)
    return f"the output of {found[0]}" if found else None


def restore(tensors: Iterable[Tensor], values: Sequence[Tensor]) -> None:
    """Gives tensors their values back."""
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def _imbalance(pairs: Tensor) -> float:
    """(processes, steps) to the mean over steps of the fullest process's pairs over the mean's, less 1."""
    mean = pairs.mean(dim=0)
    shares = pairs.amax(dim=0)[mean > 0] / mean[mean > 0]
    return shares.mean().item() - 1 if len(shares) else 0.0


def _memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
