"""The images of a data set as samples: whole, or a random box for training.

All randomness comes from (seed, epoch, index), so any number of workers and processes gives the same samples.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from frih.common.errors import UserError
from frih.common.progress import progress_bar
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Sample
from frih.data.given import given_submasks
from frih.data.iharmony4 import Item
from frih.data.images import HALF, Opened, open_mask, open_reduced
from frih.data.label_cache import LabelCache
from frih.data.transforms import View, random_view, render, whole
from frih.submasks import extract_submasks
from frih.submasks.patience import Patience

Restyle = Callable[[Item, np.ndarray, np.ndarray, np.random.Generator], np.ndarray | None]
"""Makes a new composite of an item's rendered real image (H, W, 3) uint8 and its grey mask (H, W) uint8, or none."""
Restyling = Callable[[Sequence[Item], int, int], Restyle]
"""What makes that of the training items, ``data.size`` and ``data.regions``, as
:class:`frih.tools.composites.online.Restyler`."""


class CompositeDataset(Dataset[Sample]):
    """Samples by key: an index gives the whole image, a pair (epoch, index) the random box of that epoch.

    Args:
        items: composites of a dataset.
        data: size and augmentation.
        submasks: how the foreground is divided.
        seed: of the augmentation.
        restyling: makes composites for ``data.online``; not needed for whole images.
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
        cached = data.label_cache is not None and submasks.method not in ("whole", "given")
        self.cache = LabelCache(Path(str(data.label_cache)), self.submasks) if cached else None
        self.restyle = restyling(items, data.size, data.regions) if restyling and data.online else None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        return self._whole(self.items[key]) if isinstance(key, int) else self._random(*key)

    def warm_up(self) -> None:
        """Compiles or loads the code that finds submasks."""
        if self.submasks["method"] != "given":
            Patience.over = True
            extract_submasks(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool), **self.submasks)

    def _whole(self, item: Item) -> Sample:
        """A whole image."""
        mask = open_mask(item.mask)
        view, size = whole(mask), self.data.size
        composite, real = (render(opened.image, view, size) for opened in self._open_whole(item, mask.size))
        soft_mask = render(mask, view, size)
        if self.cache:
            labels = self.cache.labels(composite, soft_mask >= HALF)
        else:
            labels = self._labels(item, mask.size, view, composite, soft_mask >= HALF)
        return Sample(composite, real, soft_mask, labels, item)

    def _labels(
        self, item: Item, size: tuple[int, int], view: View, composite: np.ndarray, mask: np.ndarray
    ) -> np.ndarray:
        """The submasks of a view of an image of some (width, height)."""
        if self.submasks["method"] == "given":
            return given_submasks(item, size, view, mask)
        return extract_submasks(composite, mask, **self.submasks)

    def _open_whole(self, item: Item, mask_size: tuple[int, int]) -> tuple[Opened, Opened]:
        """Composite and real image."""
        return open_pair(item, mask_size)

    def _random(self, epoch: int, index: int) -> Sample:
        """A random box of an image."""
        item = self.items[index]
        mask = open_mask(item.mask)
        view, soft_mask = random_view(mask, self.data, np.random.default_rng((self.seed, epoch, index)))
        size = self.data.size
        reduction = view.reduction(size) if self.data.draft else 1
        pair = open_pair(item, mask.size, reduction)
        composite, real = (render(opened.image, view, size, opened.reduction) for opened in pair)
        # each key has a random stream of its own, so that it changes neither the views nor the other's draws
        unchanged = self.data.unchanged
        if unchanged and np.random.default_rng((self.seed, epoch, index, 2)).random() < unchanged:
            composite = real
        elif self.data.online:
            if not self.restyle:
                raise UserError(
                    "data.online: needs a maker of composites; pass Restyler (frih.tools.composites.online)"
                )
            rng = np.random.default_rng((self.seed, epoch, index, 1))
            if rng.random() < self.data.online:
                made = self.restyle(item, real, soft_mask, rng)
                composite = composite if made is None else made
        labels = self._labels(item, mask.size, view, composite, soft_mask >= HALF)
        return Sample(composite, real, soft_mask, labels, item)


def require_foreground(items: Sequence[Item], what: str) -> None:
    """Checks that some mask has foreground. It reads the masks up to the first that has, so mostly one.

    Args:
        items: composites of a data set; without any, there is nothing to check.
        what: they are, for the message.

    Raises:
        UserError: no mask has foreground, or one cannot be read.
    """
    masks = dict.fromkeys(item.mask for item in items)
    bar = progress_bar(masks, desc=f"no foreground yet in {what}", unit="mask", delay=5, leave=False)
    if masks and not any(open_mask(path).getextrema()[1] >= HALF for path in bar):  # type: ignore[operator]
        raise UserError(
            f"{items[0].mask.parent}: no mask of {what} has foreground, not one value of {HALF} or more; "
            "foreground must be 255 and background 0; scripts/check_data.py names the faults of a data set"
        )


def open_pair(item: Item, mask_size: tuple[int, int], reduction: int = 1) -> tuple[Opened, Opened]:
    """Opens composite and real image, at a reduced size if ``reduction`` says so.

    Raises:
        UserError: one of them cannot be read, or they or the mask differ in size.
    """
    composite, real = open_reduced(item.composite, reduction), open_reduced(item.real, reduction)
    for path, size in ((item.mask, mask_size), (item.real, real.size)):
        if size != composite.size:
            theirs, ours = ("{} x {}".format(*one) for one in (size, composite.size))
            raise UserError(f"{path}: is {theirs} pixels but {item.composite} is {ours}; they must be of one size")
    return composite, real
