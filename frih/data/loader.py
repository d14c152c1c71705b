"""Batches of a data set: in which order, and by worker processes.

The order follows from (seed, epoch, step), so a run that is resumed meets the images it would have met.
"""

import atexit
import contextlib
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.common.processes import cores
from frih.data.batches import Packed, Sample, pack
from frih.data.dataset import CompositeDataset
from frih.data.division import Costs, divide

_NICE = 5
"""How much lower the priority of loader processes is."""


class GlobalBatchSampler(Sampler[list[tuple[int, int]]]):
    """The order of training: batches of keys (epoch, index).

    The batch of a step follows from (seed, epoch, step), whatever the number of processes. They divide it by ``costs``; where
    nothing is known, process r of n takes every n-th image of it, from the r-th. The last images of an epoch that fill no
    batch are left out of that epoch.
    """

    def __init__(self, images: int, batch: int, *, seed: int, world: World, accumulate: int = 1) -> None:
        if images < batch:
            raise UserError(f"train.batch: {batch} is more than the {images} training images; give at most that")
        shares = world.size * accumulate
        if batch % shares:
            parts = f" in {accumulate} parts each (train.accumulate)" if accumulate > 1 else ""
            fitting = " or ".join(
                str(size) for size in (batch // shares * shares, (batch // shares + 1) * shares) if size
            )
            raise UserError(
                f"train.batch: {batch} does not divide among {world.size} processes{parts}; {fitting} would"
            )
        self.images = images
        self.batch = batch
        self.accumulate = accumulate
        self.seed = seed
        self.world = world
        self.costs: Costs = np.zeros((images, 2), np.float32)
        """What each image is expected to cost (:mod:`frih.data.division`), the same in all processes. It may change between
        epochs."""
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return self.images // self.batch

    def seek(self, epoch: int, step: int) -> None:
        """Makes the next pass start at batch ``step`` of ``epoch``."""
        self.epoch, self.first = epoch, step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = self._order(self.epoch)
        for step in range(self.first, len(self)):
            yield self._keys(order, self.epoch, step)

    def batch_of(self, epoch: int, step: int) -> list[tuple[int, int]]:
        """This process's keys of one batch."""
        return self._keys(self._order(epoch), epoch, step)

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.images)

    def _keys(self, order: np.ndarray, epoch: int, step: int) -> list[tuple[int, int]]:
        batch = order[step * self.batch : (step + 1) * self.batch]
        own = [self._own(part) for part in batch.reshape(self.accumulate, -1)]  # whose statistics are parts' own
        return [(epoch, int(index)) for index in np.concatenate(own)]

    def _own(self, part: np.ndarray) -> np.ndarray:
        """This process's images of a part."""
        if self.world.size == 1:
            return part
        own: np.ndarray = part[divide(self.costs[part], self.world.size) == self.world.rank]
        return own


def training_loader(images: CompositeDataset, order: GlobalBatchSampler, workers: int, pin: bool) -> Iterable[Packed]:
    """Batches in the given order; each pass is one epoch, from where ``order.seek`` points."""
    return _Loader(images, workers, pin, batch_sampler=order)


def evaluation_loader(
    images: CompositeDataset, batch: int, workers: int, world: World, pin: bool = False
) -> Iterable[Packed]:
    """This process's share of the whole images, each once, in batches of at most ``batch``."""
    indices = range(len(images))[world.rank :: world.size]
    return _Loader(images, workers, pin, sampler=indices, batch_size=batch)


class _Loader:
    """A DataLoader whose workers return user errors as values. As exceptions they would arrive inside a traceback.

    Raises:
        UserError: while iterating: an image cannot be read, or a worker was killed.
    """

    def __init__(self, images: CompositeDataset, workers: int, pin: bool, **kwargs: Any) -> None:
        workers = min(workers, cores())
        if workers:
            images.warm_up()  # the workers inherit compiled code, instead of loading it each
        self.loader: DataLoader[Any] = DataLoader(
            _Guarded(images),
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            collate_fn=_pack,
            worker_init_fn=_begin_worker,
            **kwargs,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Packed]:
        batches = iter(self.loader)
        if threading.current_thread() is threading.main_thread():
            # PyTorch's handler raises wherever the program is when a worker dies, amid the writing of a file, say.
            # Without it, ``next`` notices the death.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while True:
            try:
                packed = next(batches, None)
            except RuntimeError as error:
                if not re.match(r"DataLoader worker \(pid.*\) exited unexpectedly", str(error)):
                    raise
                raise UserError(
                    f"a loader process was killed, perhaps because memory or /dev/shm was full ({error}); "
                    "take fewer data.workers"
                ) from None
            if packed is None:
                return
            if isinstance(packed, UserError):
                raise packed
            yield packed


def _begin_worker(worker: int) -> None:
    """Gives way to the training process, which must launch a GPU's kernels in time, and leaves interrupts to it.

    Ctrl-C, and often SIGTERM, reach every process of a job.
    """
    with contextlib.suppress(OSError, AttributeError):  # Windows has no nice
        os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Python would send SIGTERM to the remaining workers when the program exits, and wait forever."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class _Guarded(Dataset[Sample | UserError]):
    def __init__(self, images: CompositeDataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample | UserError:
        try:
            return self.images[key]
        except UserError as error:
            return error
        except Exception as error:
            item = self.images.items[key if isinstance(key, int) else key[1]]
            raise RuntimeError(f"{item.composite}, sample {key}: the loader failed on it") from error


def _pack(samples: Sequence[Sample | UserError]) -> Packed | UserError:
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, UserError):
            return sample
        good.append(sample)
    return pack(good)
