"""Batches: what the loader's workers make of the images, and in which order.

All randomness comes from (seed, epoch, index), so any number of workers and processes gives the same stream, and a run that
is resumed meets the images it would have met.
"""

import atexit
import multiprocessing
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from frih.common.distributed import World
from frih.common.errors import UserError
from frih.common.processes import cores
from frih.config import DataConfig, SubmaskConfig
from frih.data.iharmony4 import Item
from frih.data.images import HALF, Opened, open_mask, open_reduced
from frih.data.label_cache import LabelCache
from frih.data.transforms import random_view, render, whole
from frih.submasks import extract_submasks

Restyle = Callable[[Item, np.ndarray, np.ndarray, np.random.Generator], np.ndarray | None]
"""Makes a new composite of an item's rendered real image (H, W, 3) uint8 and its grey mask (H, W) uint8, or none."""
Restyling = Callable[[Sequence[Item], int, int], Restyle]
"""What makes that, of the training items, ``data.size`` and ``data.regions``:
:class:`frih.tools.composites.online.Restyler`."""


class Batch(NamedTuple):
    """B images on their way through the network."""

    composite: Tensor
    """(B, 3, H, W) float, RGB in [0, 1]."""
    real: Tensor
    """(B, 3, H, W) float, RGB in [0, 1]."""
    mask: Tensor
    """(B, 1, H, W) float, 1 = foreground, 0 = background."""
    soft_mask: Tensor
    """(B, 1, H, W) float in [0, 1]: the mask before thresholding. Only metrics read it."""
    labels: Tensor
    """(B, H, W) uint8: 0 = background, k = submask k."""
    subset: list[str]
    name: list[str]
    """File names of the composites."""
    fg_ratio: list[float]
    """Share of the image's pixels that are foreground."""


class Sample(NamedTuple):
    """One image as a worker makes it: 8 bits a channel, for the way between processes is narrow."""

    composite: np.ndarray
    """(H, W, 3) uint8."""
    real: np.ndarray
    """(H, W, 3) uint8."""
    soft_mask: np.ndarray
    """(H, W) uint8, grey."""
    labels: np.ndarray
    """(H, W) uint8."""
    item: Item

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: the grey mask thresholded at 0.5."""
        return self.soft_mask >= HALF


class Packed(NamedTuple):
    """A batch as it travels: 8 bits a channel, pixels before colours."""

    composite: Tensor
    real: Tensor
    soft_mask: Tensor
    labels: Tensor
    items: list[Item]

    def unpack(self, device: torch.device) -> Batch:
        """Moves the batch to a device and scales it to [0, 1]."""
        composite, real, soft_mask, labels = (tensor.to(device, non_blocking=True) for tensor in self[:4])
        mask = (soft_mask >= HALF).float()
        ratios = (self.soft_mask >= HALF).float().mean(dim=(1, 2))  # here, not there: the device is not waited for
        return Batch(
            composite.permute(0, 3, 1, 2).contiguous().float().div_(255),
            real.permute(0, 3, 1, 2).contiguous().float().div_(255),
            mask.unsqueeze(1),
            soft_mask.unsqueeze(1).float().div_(255),
            labels,
            [item.subset for item in self.items],
            [item.composite_name for item in self.items],
            ratios.tolist(),
        )


def pack(samples: Sequence[Sample]) -> Packed:
    """Stacks samples."""
    columns = zip(*samples, strict=True)
    composite, real, soft_mask, labels = (torch.from_numpy(np.stack(next(columns))) for _ in range(4))
    return Packed(composite, real, soft_mask, labels, list(next(columns)))


class CompositeDataset(Dataset[Sample]):
    """Samples by key: an index shows the whole image, a pair (epoch, index) the random box of that epoch.

    Args:
        items: composites of a dataset.
        data: size and augmentation.
        submasks: how to divide the foreground.
        seed: of the augmentation.
        restyling: what makes composites anew for ``data.online``; who only shows whole images needs none.
    """

    def __init__(
        self,
        items: Sequence[Item],
        data: DataConfig,
        submasks: SubmaskConfig,
        seed: int = 0,
        restyling: Restyling | None = None,
    ) -> None:
        self.items = items
        self.data = data
        self.submasks = submasks.model_dump()
        self.seed = seed
        cached = data.label_cache is not None and submasks.method != "whole"
        self.cache = LabelCache(Path(str(data.label_cache)), self.submasks) if cached else None
        self.restyle = restyling(items, data.size, data.regions) if restyling and data.online else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        return self._whole(self.items[key]) if isinstance(key, int) else self._random(*key)

    def warm_up(self) -> None:
        """Compiles what finds submasks, or loads it."""
        extract_submasks(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool), **self.submasks)

    def _whole(self, item: Item) -> Sample:
        """All of an image, exactly."""
        mask = open_mask(item.mask)
        view, size = whole(mask), self.data.size
        composite, real = (render(opened.image, view, size) for opened in open_pair(item, mask.size))
        soft_mask = render(mask, view, size)
        if self.cache:
            labels = self.cache.labels(composite, soft_mask >= HALF)
        else:
            labels = extract_submasks(composite, soft_mask >= HALF, **self.submasks)
        return Sample(composite, real, soft_mask, labels, item)

    def _random(self, epoch: int, index: int) -> Sample:
        """A random box of an image."""
        item = self.items[index]
        mask = open_mask(item.mask)
        view, soft_mask = random_view(mask, self.data, np.random.default_rng((self.seed, epoch, index)))
        size = self.data.size
        reduction = view.reduction(size) if self.data.draft else 1
        pair = open_pair(item, mask.size, reduction)
        composite, real = (render(opened.image, view, size, opened.reduction) for opened in pair)
        # streams of their own, so that these keys move neither the views nor each other's draws
        unchanged = self.data.unchanged
        if unchanged and np.random.default_rng((self.seed, epoch, index, 2)).random() < unchanged:
            composite = real
        elif self.data.online:
            if not self.restyle:
                raise UserError(
                    "data.online: takes what makes composites; hand Restyler (frih.tools.composites.online) in"
                )
            rng = np.random.default_rng((self.seed, epoch, index, 1))
            if rng.random() < self.data.online:
                made = self.restyle(item, real, soft_mask, rng)
                composite = composite if made is None else made
        labels = extract_submasks(composite, soft_mask >= HALF, **self.submasks)
        return Sample(composite, real, soft_mask, labels, item)


def open_pair(item: Item, mask_size: tuple[int, int], reduction: int = 1) -> tuple[Opened, Opened]:
    """Opens composite and real image, reduced where they may be.

    Raises:
        UserError: one of them cannot be read, or they or the mask differ in size.
    """
    composite, real = open_reduced(item.composite, reduction), open_reduced(item.real, reduction)
    for path, size in ((item.mask, mask_size), (item.real, real.size)):
        if size != composite.size:
            theirs, ours = ("{} x {}".format(*one) for one in (size, composite.size))
            raise UserError(f"{path}: is {theirs} pixels but {item.composite} is {ours}; they must be of one size")
    return composite, real


class GlobalBatchSampler(Sampler[list[tuple[int, int]]]):
    """The order of training: keys (epoch, index), batch by batch, of which each process takes its share.

    The batch of a step is fixed by (seed, epoch, step) whatever the number of processes; process r of n takes every n-th
    image of it, from the r-th. The last images of an epoch that fill no batch are left out of that epoch.
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
        self.seed = seed
        self.world = world
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        return self.images // self.batch

    def seek(self, epoch: int, step: int) -> None:
        """Makes the next pass that of ``epoch``, from its batch number ``step`` on."""
        self.epoch, self.first = epoch, step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.images)
        for step in range(self.first, len(self)):
            batch = order[step * self.batch : (step + 1) * self.batch]
            yield [(self.epoch, int(index)) for index in batch[self.world.rank :: self.world.size]]


def training_loader(images: CompositeDataset, order: GlobalBatchSampler, workers: int, pin: bool) -> Iterable[Packed]:
    """Batches in a given order; each pass over it is one epoch, as ``order.seek`` says."""
    return _Loader(images, workers, pin, batch_sampler=order)


def evaluation_loader(
    images: CompositeDataset, batch: int, workers: int, world: World, pin: bool = False
) -> Iterable[Packed]:
    """This process's share of the images, whole and each once, in batches of at most ``batch``."""
    indices = range(len(images))[world.rank :: world.size]
    return _Loader(images, workers, pin, sampler=indices, batch_size=batch)


class _Loader:
    """A DataLoader whose workers hand user errors over as values: as exceptions they would arrive inside a traceback.

    Raises:
        UserError: while iterating: an image cannot be read, or a worker was killed.
    """

    def __init__(self, images: CompositeDataset, workers: int, pin: bool, **kwargs: Any) -> None:
        workers = min(workers, cores())
        if workers:
            images.warm_up()  # compiled code is inherited by the workers, which would each load it
        self.loader: DataLoader[Any] = DataLoader(
            _Guarded(images),
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            collate_fn=_pack,
            worker_init_fn=_leave_interrupts,
            **kwargs,
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Packed]:
        with _deaths_told():
            batches = iter(self.loader)
        while True:
            with _deaths_told():
                packed = next(batches, None)
            if packed is None:
                return
            if isinstance(packed, UserError):
                raise packed
            yield packed


@contextmanager
def _deaths_told() -> Iterator[None]:
    """Where the death of a worker may be raised: PyTorch would do it anywhere, amid a step or the writing of a file."""
    global _on_death
    before: Any = signal.getsignal(signal.SIGCHLD)
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and _on_death is not None:
        signal.signal(signal.SIGCHLD, _on_death)
    try:
        yield
    except RuntimeError as error:
        if not _DEATH.match(str(error)):
            raise
        raise UserError(
            f"a loader process was killed, perhaps for want of memory or of room in /dev/shm ({error}); "
            "take fewer data.workers"
        ) from None
    finally:
        if in_main:
            _on_death = signal.getsignal(signal.SIGCHLD)  # PyTorch's, once it has made workers
            signal.signal(signal.SIGCHLD, before)


_DEATH = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal|exited unexpectedly)")
_on_death: Any = None


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C, and often SIGTERM, reach every process of a job; what they mean is for the main process to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    """Python would ask what is left of them by SIGTERM when the program exits, and wait for ever."""
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
