"""Kinds of composites on which a measurement may find that weights do harm.

A kind is told from the image, its mask and how much the network changes the foreground, so that it can be told of one's own
image, too: a measurement on composites whose real image is known (:mod:`frih.tools.experiments.limits`) and the note on one's
own image use the same function. The edges are fixed round numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frih.models.findings import Limit


class Look(NamedTuple):
    """What decides the kinds. Colours are in [0, 1]."""

    share: float
    """Of the pixels, that are foreground."""
    sides: int
    """Sides of the image that the foreground touches."""
    brightness: float
    """Mean of the image."""
    colour: float
    """Mean over the image of the largest channel less the smallest."""
    own_colour: float
    """The same over the foreground."""
    apart: float
    """Distance of the mean colours of foreground and background, root mean square over channels."""
    spread: float
    """Standard deviation of the background, root mean square over channels."""
    change: float
    """Mean change of the foreground by the network, at strength 1."""


class Kind(NamedTuple):
    """A kind of composites."""

    text: str
    """A clause for people that is true of them."""
    holds: Callable[[Look], bool]


KINDS: Mapping[str, Kind] = {
    "tiny": Kind("the foreground covers less than 1 % of the image", lambda it: it.share < 0.01),
    "small": Kind("the foreground covers 1 to 5 % of the image", lambda it: 0.01 <= it.share < 0.05),
    "large": Kind("the foreground covers more than 60 % of the image", lambda it: it.share > 0.6),
    "three sides": Kind("the foreground touches three or four sides of the image", lambda it: it.sides >= 3),
    "dark": Kind("the image is very dark", lambda it: it.brightness < 0.25),
    "bright": Kind("the image is very bright", lambda it: it.brightness > 0.75),
    "grey": Kind("the image is nearly grey", lambda it: it.colour < 0.05),
    "colourful": Kind("the foreground is very colourful", lambda it: it.own_colour > 1 / 3),
    "alike": Kind("foreground and background have nearly the same colours already", lambda it: it.apart < 0.05),
    "unlike": Kind("foreground and background are very different in colour", lambda it: it.apart > 0.4),
    "plain": Kind("the background is nearly of one colour", lambda it: it.spread < 0.1),
    "little change": Kind(
        "the network finds little to change (less than 8 levels on average)", lambda it: it.change < 8 / 255
    ),
    "much change": Kind(
        "the network changes very much (more than 40 levels on average)", lambda it: it.change > 40 / 255
    ),
}
"""By name. An image may be of several kinds."""


def kinds_of(image: NDArray[np.uint8], mask: NDArray[np.bool_], change: NDArray[np.floating[Any]]) -> tuple[str, ...]:
    """The names of a composite's kinds, in the order of :data:`KINDS`.

    Args:
        image: (H, W, 3), as the network sees it.
        mask: (H, W), the foreground. If it is empty or everything, there is nothing to compare, and the image is of no kind.
        change: (H, W, 3), what the network adds to the image at strength 1, in [-1, 1]; only that of the foreground counts.
    """
    if not mask.any() or mask.all():
        return ()
    look = _look(image, mask, change)
    return tuple(name for name, kind in KINDS.items() if kind.holds(look))


def notes(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], change: NDArray[np.floating[Any]], limits: Sequence[Limit]
) -> tuple[str, ...]:
    """What is known of weights on composites of this one's kinds, a clause for each kind on which they do harm.

    Args:
        image: (H, W, 3), as the network sees it.
        mask: (H, W), the foreground.
        change: (H, W, 3), what the network adds to the image.
        limits: of the weights. Kinds that no image tells are left out.
    """
    kinds = kinds_of(image, mask, change) if limits else ()
    return tuple(
        f"{KINDS[limit.kind].text}; these weights made {100 * limit.worse_10:.0f} % of {limit.images} such composites worse "
        f"by more than a tenth ({100 * limit.overall:.0f} % of all)"
        for limit in limits
        if limit.kind in kinds
    )


def _look(image: NDArray[np.uint8], mask: NDArray[np.bool_], change: NDArray[np.floating[Any]]) -> Look:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 255
    colours = planes.max(axis=0) - planes.min(axis=0)
    inside, outside = (np.ascontiguousarray(planes[:, part]) for part in (mask, ~mask))
    return Look(
        share=float(mask.mean()),
        sides=sum(bool(edge.any()) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1])),
        brightness=float(planes.mean()),
        colour=float(colours.mean()),
        own_colour=float(colours[mask].mean()),
        apart=float(np.sqrt(np.square(inside.mean(axis=1) - outside.mean(axis=1)).mean())),
        spread=float(np.sqrt(outside.var(axis=1).mean())),
        change=float(np.abs(change[mask]).mean()),
    )
