"""Submasks that lie in files beside the composites, for ``submasks.method=given``.

``<subset>/submasks/X_M_K.png`` belongs to the composite ``X_M_K.jpg``. It has the composite's size, 8 bits and one channel: 0
outside the foreground, k in submask k. So any division can be tried: true regions, the segments of another program, objects.
"""

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from frih.common.errors import UserError
from frih.config.keys import MOST_GIVEN
from frih.data.iharmony4 import Item
from frih.data.images import open_labels
from frih.data.transforms import View


def given_submasks(item: Item, size: tuple[int, int], view: View, mask: np.ndarray) -> np.ndarray:
    """The submasks of a view of a composite.

    Args:
        item: the composite.
        size: its (width, height).
        view: the part of the image that is seen.
        mask: (S, S) bool, the foreground as it is seen.

    Returns:
        (S, S) uint8, 0 exactly outside the mask. A pixel of the foreground that the file leaves out belongs to the submask of
        the nearest one that it does not; if there is none, to submask 1. Numbers that no pixel bears are left out.

    Raises:
        UserError: the file is missing, cannot be read, has another size or kind, or larger labels than
            :data:`~frih.config.keys.MOST_GIVEN`.
    """
    path = item.given
    if not path.is_file():
        raise UserError(
            f"{path}: no such file, which submasks.method=given needs for {item.name}; make composites by "
            "scripts/make_composites.py --regions, write such files, or take another method"
        )
    image = open_labels(path)
    if image.size != size:
        theirs, ours = ("{} x {}".format(*one) for one in (image.size, size))
        raise UserError(f"{path}: is {theirs} pixels but the composite is {ours}; they must be of one size")
    most = int(image.getextrema()[1])  # type: ignore[arg-type]
    if most > MOST_GIVEN:
        raise UserError(f"{path}: has the label {most}; submasks are numbered from 1 to {MOST_GIVEN} at most")
    return renumbered(completed(view_of(image, view, mask.shape[0]), mask))


def view_of(image: Image.Image, view: View, size: int) -> np.ndarray:
    """A view of labels, (size, size) uint8: each pixel has the label of the stored pixel at its centre."""
    seen = image.resize((size, size), Image.Resampling.NEAREST, box=view.box)
    return np.array(seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else seen)


def renumbered(labels: np.ndarray) -> np.ndarray:
    """Labels whose numbers 1 ... K have no gap, in the same order; 0 stays."""
    present = np.bincount(labels.ravel(), minlength=256) > 0
    present[0] = False
    numbers = np.where(present, np.cumsum(present), 0).astype(np.uint8)
    return np.asarray(numbers[labels])


def completed(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels (H, W) that are 0 exactly outside the mask; see :func:`given_submasks`."""
    inside: np.ndarray = labels * mask
    lacking = mask & (inside == 0)
    if lacking.any():
        if not inside.any():
            return mask.astype(np.uint8)
        nearest = distance_transform_edt(inside == 0, return_distances=False, return_indices=True)
        inside[lacking] = inside[tuple(nearest)][lacking]
    return inside
