"""The colour regions of an object: each takes the colours of another reference.

No published data set is made in this way. In iHarmony4 one transfer moves a whole foreground, so that one correction for all of
it comes close to the truth. With regions, no single correction does. The regions are found by k-means in CIELAB. Before that,
colours are blurred inside the object, so that noise and texture do not tear regions apart. There is no randomness.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from frih.tools.composites.color_transfer import Colors, Transfer

APART = 10.0
"""If the mean colours of two regions are closer than this in CIELAB, fewer regions are made."""
SMALLEST = 0.04
"""The same holds if a region has a smaller share of the object."""

_BLUR = 1 / 64
"""Standard deviation of the blur, as a share of the square root of the number of pixels."""
_FITTED, _ROUNDS = 4_000, 20


def divide(image: Colors, region: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Finds an object's colour regions, numbered from 0 by rising lightness.

    Args:
        image: (H, W, 3) RGB in [0, 1].
        region: (H, W) bool, the object, of N pixels, at least one.
        count: the most regions; there are fewer where colours are close, and 1 for an object of one colour.

    Returns:
        The region of each of the object's pixels, (N,), row by row.
    """
    sigma = _BLUR * float(np.sqrt(region.sum()))
    weight = gaussian_filter(region.astype(np.float64), sigma, mode="constant")
    sums = gaussian_filter(image * region[..., None], (sigma, sigma, 0), mode="constant")
    return _cluster(sums[region] / weight[region][:, None], count)


def transfer_regions(
    source: Colors, labels: NDArray[np.intp], references: Sequence[Colors], transfer: Transfer
) -> Colors:
    """Gives each region the colours of another reference: of the reference's own region with the same rank by lightness.

    Args:
        source: (N, 3) RGB in [0, 1].
        labels: (N,) regions from 0, as :func:`divide` numbers them.
        references: (M, 3) RGB in [0, 1] each; at least one for each region.
        transfer: one of :data:`~frih.tools.composites.color_transfer.TRANSFERS`.

    Returns:
        (N, 3) RGB in [0, 1].
    """
    restyled: Colors = source.copy()
    for rank in np.unique(labels):
        theirs = _cluster(references[rank], int(labels.max()) + 1)
        goal = references[rank][theirs == min(rank, theirs.max())]
        restyled[labels == rank] = transfer(source[labels == rank], goal)
    return restyled


def _cluster(colors: Colors, most: int) -> NDArray[np.intp]:
    """Clusters of (N, 3) colours, (N,), by rising lightness: as many, up to ``most``, as are large and far apart."""
    lab = rgb2lab(colors)
    some = lab[:: 1 + len(lab) // _FITTED]
    for count in range(min(most, len(some)), 1, -1):
        centres = _k_means(some, count)
        labels = _nearest(lab, centres)
        shares = np.bincount(labels, minlength=count) / len(labels)
        distances = np.linalg.norm(centres[:, None] - centres, axis=-1)[np.triu_indices(count, 1)]
        if shares.min() >= SMALLEST and distances.min() >= APART:
            return np.asarray(np.argsort(np.argsort(centres[:, 0], kind="stable"))[labels])
    return np.zeros(len(lab), np.intp)


def _k_means(points: Colors, count: int) -> Colors:
    """Means by Lloyd's algorithm, (count, 3); it starts from equal parts by lightness."""
    order = np.argsort(points[:, 0], kind="stable")
    centres = np.stack([points[part].mean(axis=0) for part in np.array_split(order, count)])
    for _ in range(_ROUNDS):
        labels = _nearest(points, centres)
        counts = np.bincount(labels, minlength=count)
        sums = np.stack([np.bincount(labels, points[:, i], count) for i in range(3)], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _nearest(points: Colors, centres: Colors) -> NDArray[np.intp]:
    """The nearest centre of each point, (N,)."""
    return np.asarray(((points[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1))
