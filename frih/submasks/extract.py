"""From an image and its mask to a map of submasks."""

import zlib
from typing import Any

import numpy as np

from frih.submasks.checks import check_choice, check_count, describe
from frih.submasks.density_peaks import check_options, density_peaks
from frih.submasks.kmeans import kmeans

METHODS = ("cfsfdp", "gamma", "kmeans", "random", "whole")
DECISIONS = {"cfsfdp": "delta", "gamma": "gamma"}


def extract_submasks(
    composite: np.ndarray,
    mask: np.ndarray,
    cutoff: float = 0.1,
    candidates: int = 10,
    min_density: int = 10,
    distance: str = "euclidean",
    method: str = "cfsfdp",
    clusters: int = 8,
) -> np.ndarray:
    """Divides an image's foreground by colour.

    Args:
        composite: (H, W, 3) uint8, RGB.
        mask: (H, W) bool, True = foreground.
        cutoff: this and the next three are those of :func:`~frih.submasks.density_peaks.density_peaks`.
        candidates: the most submasks that ``"cfsfdp"`` and ``"gamma"`` can find.
        min_density: a colour of this density or less is an outlier.
        distance: ``"euclidean"`` or ``"normalized"``.
        method: ``"cfsfdp"`` takes the density peaks of the highest delta as centres, ``"gamma"`` those of the highest density
            times delta; ``"kmeans"`` is k-means; ``"random"`` divides by place (:func:`random_parts`); ``"whole"`` makes the
            whole mask one submask.
        clusters: the most submasks that ``"kmeans"`` and ``"random"`` can find.

    Returns:
        (H, W) uint8: 0 = background, k = submask k. Submask 1 is that of the densest centre; with ``"kmeans"`` it is the
        largest. An empty mask has no submask.

    Raises:
        ValueError: an argument is not as above.
    """
    check_choice("method", method, METHODS)
    check_options(cutoff, candidates, min_density, distance)
    check_count("clusters", clusters, "8 by default")
    _check_images(composite, mask)
    labels = mask.astype(np.uint8, order="C")
    if method == "kmeans":
        labels[mask] = kmeans(composite[mask], clusters).labels
    elif method == "random":
        labels[mask] = random_parts(mask, clusters)
    elif method != "whole":
        decision = DECISIONS[method]
        labels[mask] = density_peaks(composite[mask], cutoff, candidates, min_density, distance, decision).labels
    return labels


def random_parts(mask: np.ndarray, parts: int) -> np.ndarray:
    """Divides a foreground by place, whatever its colours: each pixel belongs to the nearest of some that are drawn at random.

    It is a control for divisions by colour. Of equally near ones the one drawn first counts. The draw depends on the mask
    alone: a whole image always has the same parts, each box of it others.

    Args:
        mask: (H, W) bool, with N pixels set.
        parts: their number, or N if that is less.

    Returns:
        (N,) uint8, from 1 on.
    """
    places = np.argwhere(mask)
    rng = np.random.default_rng([*mask.shape, zlib.crc32(np.packbits(mask).tobytes())])
    centers = places[rng.choice(len(places), min(parts, len(places)), replace=False)] if len(places) else places
    nearest, least = np.zeros(len(places), np.uint8), np.full(len(places), np.iinfo(np.int64).max)
    for number, center in enumerate(centers, 1):
        squared = np.square(places - center).sum(axis=1)
        nearest[squared < least] = number
        np.minimum(least, squared, out=least)
    return nearest


def extract_batch(composites: np.ndarray, masks: np.ndarray, **options: Any) -> np.ndarray:
    """:func:`extract_submasks` of each of B images: (B, H, W, 3) uint8 and (B, H, W) bool to (B, H, W) uint8."""
    labels = np.zeros(masks.shape, np.uint8)
    for found, composite, mask in zip(labels, composites, masks, strict=True):
        found[:] = extract_submasks(composite, mask, **options)
    return labels


def _check_images(composite: np.ndarray, mask: np.ndarray) -> None:
    if not (
        isinstance(composite, np.ndarray)
        and composite.dtype == np.uint8
        and composite.ndim == 3
        and composite.shape[2] == 3
    ):
        raise ValueError(
            f"composite: must be an (H, W, 3) array of uint8 (scale to 0..255 and convert), not {describe(composite)}"
        )
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.ndim == 2):
        raise ValueError(f"mask: must be an (H, W) array of bool (say, grey >= 128), not {describe(mask)}")
    if mask.shape != composite.shape[:2]:
        theirs, ours = mask.shape, composite.shape[:2]
        raise ValueError(f"mask: is {theirs} but composite is {ours}; resize them to one height and width")
