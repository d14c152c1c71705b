"""Composites made anew while training: a photo's foreground takes other photos' colours, differently each epoch.

It is done as :mod:`frih.tools.composites.making` does beforehand, on the rendered view instead of the stored image: the part
of the foreground that is in the box takes the colours of an object of another training image, by one of the four published
transfers, and the bounds of :mod:`frih.tools.composites.restyling` decide whether that is a composite. A set made by
:mod:`~frih.tools.composites.making` says in its manifest of which category each object is, and an object then takes the
colours of one of its category; elsewhere, of one of its subset.
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
"""Draws of references for a composite, at most."""
LENT_PIXELS, KEPT_OBJECTS = 3_000, 8_192
"""So many pixels of an object are lent, and of so many objects they are kept at hand: 74 MB a loader process at most."""

Lender = tuple[str, str]
"""What tells an object from all others: its subset, or nothing where subsets share photos, and its mask's file name."""


class Restyler:
    """Makes composites of training images.

    Args:
        items: the training images: all photos that may lend colours.
        size: side at which images are rendered.
        regions: so many colour regions, at most, of every fifth object take the colours of different references; 0: of none.
    """

    def __init__(self, items: Sequence[Item], size: int, regions: int = 0) -> None:
        self.size, self.regions = size, regions
        self.fast = True
        """By compiled transfers; by the literal ones otherwise, to compare with."""
        self.categories = read_categories(Path(items[0].root)) if items else {}
        self.lenders: dict[str, dict[Lender, Item]] = defaultdict(dict)
        for item in items:
            self.lenders[self._group(item)].setdefault(self._lender(item), item)
        self.groups = {group: list(lenders.items()) for group, lenders in self.lenders.items()}
        self.kept: dict[Lender, NDArray[np.uint8]] = {}

    def __call__(
        self, item: Item, real: np.ndarray, soft_mask: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray | None:
        """A composite of a rendered photo.

        Args:
            item: what the photo is of; it lends itself nothing.
            real: (H, W, 3) uint8.
            soft_mask: (H, W) uint8; where it is 0 the photo stays as it is.
            rng: draws the transfer and the references.

        Returns:
            (H, W, 3) uint8; None if the view holds no foreground, or no reference gave a composite.

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
        """Colours of so many objects of other photos, draw by draw."""
        group = self.groups[self._group(item)]
        if len(group) <= count:
            return
        for places in rng.integers(len(group), size=(DRAWS, count)):
            drawn = [group[place] for place in places]
            colors = [self._object_colors(*one) for one in drawn if one[1].real_name != item.real_name]
            if len(colors) == count and all(map(len, colors)):
                yield [one / 255 for one in colors]

    def _group(self, item: Item) -> str:
        """Objects that may lend each other colours."""
        return self.categories.get(Path(item.mask_name).stem, item.subset)

    def _lender(self, item: Item) -> Lender:
        return "" if self.categories else item.subset, item.mask_name

    def _object_colors(self, lender: Lender, item: Item) -> NDArray[np.uint8]:
        """(N, 3): some pixels of an object, read once while they are kept."""
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
        rows, columns = (
            thinned(places, LENT_PIXELS) // photo.reduction for places in np.nonzero(np.asarray(mask) >= HALF)
        )
        pixels: NDArray[np.uint8] = np.asarray(photo.image)[rows, columns]
        return pixels


def read_categories(root: Path) -> dict[str, str]:
    """The category of each object by its mask's name without suffix, as the manifest of a data set has them; {} without one."""
    try:
        entries = json.loads((root / MANIFEST).read_text(encoding="utf-8"))["photos"]
        return {f"{entry['photo']}_{entry.get('object') or 1}": str(entry["category"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # none, or another program's
