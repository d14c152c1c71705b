"""Composites made anew while training: a photo's foreground takes another photo's colours, differently each epoch.

It is done as :mod:`frih.data.composites` does beforehand, on the rendered view instead of the stored picture: the part of the
foreground that is in the box takes the colours of an object of another training picture of the same subset, by one of the four
published transfers, and the bounds of :mod:`frih.data.restyling` decide whether that is a composite.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from frih.data.color_transfer import TRANSFERS, Colors
from frih.data.iharmony4 import Item
from frih.data.pictures import HALF, open_mask, open_reduced
from frih.data.restyling import REFERENCE_PIXELS, Attempt, restyle_each, thinned
from frih.data.transforms import render, whole

DRAWS = 10
"""References that are tried for a composite, at most."""


class Restyler:
    """Makes composites of training pictures.

    Args:
        items: the training pictures: all photos that may lend colours.
        size: side at which pictures are rendered.
    """

    def __init__(self, items: Sequence[Item], size: int) -> None:
        self.size = size
        self.lenders: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            self.lenders[item.subset].append(item)

    def restyle(
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
        if not (soft_mask >= HALF).any():
            return None
        attempts = (Attempt(transfer, [colors]) for colors in self._references(item, rng))
        tried = restyle_each(real, soft_mask, attempts)
        return next((made.picture for made in tried if made.picture is not None), None)

    def _references(self, item: Item, rng: np.random.Generator) -> Iterator[Colors]:
        """Colours of objects of other photos."""
        lenders = self.lenders[item.subset]
        for place in rng.integers(len(lenders), size=DRAWS):
            lender = lenders[place]
            if lender.real_name != item.real_name:
                colors = self._object_colors(lender)
                if len(colors):
                    yield colors

    def _object_colors(self, item: Item) -> Colors:
        """(N, 3) RGB in [0, 1]: what a photo shows of its object at the rendered size."""
        mask = open_mask(item.mask)
        view = whole(mask)
        photo = open_reduced(item.real, view.reduction(self.size))
        pixels = render(photo.image, view, self.size, photo.reduction)
        return thinned(pixels[render(mask, view, self.size) >= HALF], REFERENCE_PIXELS) / 255
