"""The colour regions of an object, each of which takes the colours of another reference.

No published data set is made in this way: in iHarmony4, as by :func:`~frih.tools.composites.color_transfer.transfer_reinhard`
and its like, one transfer moves a whole foreground, so that one correction for all of it comes near to the truth. Here none
does. The regions are found by k-means in CIELAB, on colours that are blurred inside the object first, so that noise and
texture do not tear regions. Everything follows from the pixels alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab

from frih.tools.composites.color_transfer import Colors, Transfer

APART = 10.0
"""Regions whose mean colours are nearer in CIELAB than this are none: there are fewer then."""
SMALLEST = 0.04
"""Share of the object below which a region is none, likewise."""

_BLUR = 1 / 64
"""Standard deviation of the blur, as a share of the root of the object's pixels."""
_FITTED, _ROUNDS = 4_000, 20


def divide(image: Colors, region: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    """Finds an object's colour regions, numbered from 0 on by rising lightness.

    Args:
        image: (H, W, 3) RGB in [0, 1].
        region: (H, W) bool, the object: N pixels, one at least.
        count: so many regions at most; fewer where the colours give no more, 1 for an object of one colour.

    Returns:
        (N,) the region of each of the object's pixels, row by row.
    """
    sigma = _BLUR * float(np.sqrt(region.sum()))
    weight = gaussian_filter(region.astype(np.float64), sigma, mode="constant")
    sums = gaussian_filter(image * region[..., None], (sigma, sigma, 0), mode="constant")
    return _cluster(sums[region] / weight[region][:, None], count)


def transfer_regions(
    source: Colors, labels: NDArray[np.intp], references: Sequence[Colors], transfer: Transfer
) -> Colors:
    """Gives each region the colours of another reference: those of the reference's own region of the same rank by lightness.

    Args:
        source: (N, 3) RGB in [0, 1].
        labels: (N,) regions from 0 on, as :func:`divide` numbers them.
        references: (M, 3) RGB in [0, 1] each; one a region at least.
        transfer: of :data:`~frih.tools.composites.color_transfer.TRANSFERS`.

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
    """(N,) clusters of (N, 3) colours, by rising lightness: as many as are large and apart, up to ``most``."""
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
    """(count, 3) means by Lloyd's algorithm, begun with equal parts by lightness."""
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
    """(N,) the nearest centre of each point."""
    return np.asarray(((points[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1))
