"""Divides the images of a step among processes, so that no process keeps the others waiting.

In training the time of the second stage follows the pairs of an image and a submask, and the tiles that submasks touch. Images
differ in both.
"""

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float32]
"""(images, 2): what images cost, by two measures with units of their own; zeros where nothing is known of an image."""


def divide(costs: Costs, parts: int) -> NDArray[np.int64]:
    """Which part takes which image, so that all take as many, and cost about the same by both measures.

    Images are given away from the dearest to the cheapest; each goes to the part, among those that still take one, where what
    it has and what the image adds are of the least product. If the images cost the same, part r takes every ``parts``-th image,
    from the r-th. All machines come to the same division: there is no sum here whose order could matter.

    Args:
        costs: of the images. Their number is a multiple of ``parts``.
        parts: how many.

    Returns:
        (images,), the part of each image, from 0.
    """
    known = np.count_nonzero(costs, axis=1) > 0
    mean = np.maximum(costs[known].sum(axis=0, dtype=np.float64), 1) / max(1, known.sum())
    relative = np.where(known[:, None], costs / mean, 1.0)
    dearest_first = np.argsort(-relative.sum(axis=1), kind="stable").tolist()
    load, room = [(0.0, 0.0)] * parts, [len(costs) // parts] * parts
    taken = np.empty(len(costs), np.int64)
    for image, (one, other) in zip(dearest_first, relative[dearest_first].tolist(), strict=True):
        open_parts = (part for part in range(parts) if room[part])
        part = min(open_parts, key=lambda part: load[part][0] * one + load[part][1] * other)
        load[part] = load[part][0] + one, load[part][1] + other
        room[part] -= 1
        taken[image] = part
    return taken
