"""Makes new composites during training: a photo's foreground takes the colours of other photos, differently in each epoch.

:mod:`frih.tools.composites.making` does the same beforehand on the stored image; here it is done on the rendered view. The part
of the foreground inside the box takes the colours of an object of another training image, by one of the four published
transfers, and :mod:`frih.tools.composites.restyling` decides whether the result is a composite. The manifest of a set made by
:mod:`~frih.tools.composites.making` has the category of each object, and an object takes the colours of one of its category.
In other sets it takes those of one of its subset.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frih.common.errors import UserError
from frih.data.iharmony4 import Item
from frih.data.images import HALF, open_mask, open_reduced
from frih.data.transforms import whole
from frih.tools.composites.color_transfer import TRANSFERS, Colors
from frih.tools.composites.restyling import ONE_COLOR, Attempt, restyle_each, thinned
from frih.tools.journal import MANIFEST

DRAWS = 10
"""References drawn for a composite, at most."""
LENT_PIXELS, KEPT_OBJECTS = 3_000, 8_192
"""The most pixels that an object lends, and the most objects whose pixels are kept in memory: 74 MB in each loader process."""

Lender = tuple[str, str]
"""The key of an object: its subset, or nothing where subsets share photos, and its mask's file name."""


class Restyler:
    """Makes composites of training images.

    Args:
        items: the training images, whose photos lend each other colours.
        size: side at which images are rendered.
        regions: every fifth object, drawn at random, takes the colours of different references in at most so many colour
            regions; 0: none does.
    """

    def __init__(self, items: Sequence[Item], size: int, regions: int = 0) -> None:
        self.size, self.regions = size, regions
        self.fast = True
        """Whether it uses the compiled transfers; the literal ones are there to compare with."""
        self.categories = read_categories(Path(items[0].root)) if items else {}
        lenders: dict[str, dict[Lender, Item]] = defaultdict(dict)
        for item in items:
            subset = "" if self.categories else item.subset
            lenders[self._group(item)].setdefault((subset, item.mask_name), item)
        self.groups = {group: list(objects.items()) for group, objects in lenders.items()}
        self.kept: dict[Lender, NDArray[np.uint8]] = {}

    def __call__(
        self, item: Item, real: np.ndarray, soft_mask: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """Makes a composite of a rendered photo.

        Args:
            item: the photo's item; the photo lends itself nothing.
            real: (H, W, 3) uint8.
            soft_mask: (H, W) uint8; where it is 0 the photo stays as it is.
            rng: draws the transfer and the references.

        Returns:
            (H, W, 3) uint8; None if the view has no foreground, or no reference gave a composite.

        Raises:
            UserError: a reference cannot be read.
        """
        transfer = list(TRANSFERS)[rng.integers(len(TRANSFERS))]
        count = self.regions if self.regions and rng.integers(len(TRANSFERS) + 1) == 0 else 1
        if not (soft_mask >= HALF).any():
            return None
        attempts = (Attempt(transfer, references) for references in self._references(item, count, rng))
        for made in restyle_each(real, soft_mask, attempts, fast=self.fast):
            if made.image is not None or made.fault == ONE_COLOR:
                return made.image
        return None

    def _references(self, item: Item, count: int, rng: np.random.Generator) -> Iterator[list[Colors]]:
        """Yields the colours of ``count`` objects of other photos, draw by draw."""
        group = self.groups[self._group(item)]
        if len(group) <= count:
            return
        for places in rng.integers(len(group), size=(DRAWS, count)):
            drawn = [group[place] for place in places]
            colors = [self._object_colors(*one) for one in drawn if one[1].real_name != item.real_name]
            if len(colors) == count and all(map(len, colors)):
                yield [one / 255 for one in colors]

    def _group(self, item: Item) -> str:
        """The group of objects that may lend each other colours."""
        return self.categories.get(Path(item.mask_name).stem, item.subset)

    def _object_colors(self, lender: Lender, item: Item) -> NDArray[np.uint8]:
        """Some pixels of an object, (N, 3), kept for later calls."""
        if lender not in self.kept:
            if len(self.kept) >= KEPT_OBJECTS:
                self.kept.pop(next(iter(self.kept)))
            self.kept[lender] = self._read_colors(item)
        return self.kept[lender]

    def _read_colors(self, item: Item) -> NDArray[np.uint8]:
        mask = open_mask(item.mask)
        photo = open_reduced(item.real, whole(mask).reduction(self.size))
        if photo.size != mask.size:
            theirs, ours = ("{} x {}".format(*size) for size in (photo.size, mask.size))
            raise UserError(f"{item.real}: is {theirs} pixels but {item.mask} is {ours}; they must be of one size")
        places = np.nonzero(np.asarray(mask) >= HALF)
        rows, columns = (thinned(place, LENT_PIXELS) // photo.reduction for place in places)
        pixels: NDArray[np.uint8] = np.asarray(photo.image)[rows, columns]
        return pixels


def read_categories(root: Path) -> dict[str, str]:
    """The category of each object by its mask's name without suffix, from a data set's manifest; {} if it has none."""
    try:
        entries = json.loads((root / MANIFEST).read_text(encoding="utf-8"))["photos"]
        return {f"{entry['photo']}_{entry.get('object') or 1}": str(entry["category"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # no manifest, or one of another program
