"""On which kinds of composites weights do harm: those that an image tells, and the categories of a data set.

A kind is a limit of the weights (:func:`is_limit`) if three things hold:

- enough of it was measured: :data:`LEAST_IMAGES` composites of :data:`LEAST_PHOTOS` photos;
- its share of composites made worse by more than a tenth is clearly above that of all: the whole interval is;
- its mean fMSE gets worse, or better by less than a tenth (:data:`HARDLY`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from frih.data.iharmony4 import parts_of
from frih.evaluation.statistics import Group, Interval, bootstrap
from frih.harmonizing.kinds import KINDS
from frih.metrics import Row
from frih.models.findings import Findings, Limit
from frih.tools.experiments.strengths import named

LEAST_IMAGES, LEAST_PHOTOS = 30, 10
"""Of fewer nothing can be said."""
HARDLY = 0.9
"""A mean fMSE above the composites' times this has hardly become better, or worse."""
ALL = "all"


class Part(NamedTuple):
    """The composites of one kind, and what a network makes of them."""

    kind: str
    text: str
    """A clause that is true of them."""
    before: float
    """Mean fMSE of the composites."""
    after: float
    """Mean fMSE of the results."""
    worse_10: Interval
    """Share of the results that are worse by more than a tenth."""


def parts(rows: Sequence[Row], strength: float, categories: Mapping[str, str]) -> list[Part]:
    """All composites, then those of each kind, then those of each category, the largest first; empty ones are left out.

    Args:
        rows: of :class:`~frih.tools.experiments.strengths.Strengths`.
        strength: the share of the change that is made.
        categories: by the mask's name without suffix (:func:`frih.tools.composites.online.read_categories`).
    """

    def part(kind: str, text: str, members: Group) -> Part:
        before, after = (
            bootstrap(rows, name, members=members).mean for name in ("input_fmse", named(strength, "fmse"))
        )
        return Part(kind, text, before, after, bootstrap(rows, named(strength, "worse_10"), members=members))

    def of_kind(name: str) -> Group:
        return lambda row: row.scores[f"kind:{name}"] == 1

    def of_category(name: str) -> Group:
        return lambda row: category(row, categories) == name

    named_ones = sorted({category(row, categories) for row in rows} - {""})
    of_kinds = [part(name, kind.text, of_kind(name)) for name, kind in KINDS.items()]
    of_categories = [part(name, f"the category is {name}", of_category(name)) for name in named_ones]
    of_categories.sort(key=lambda one: -one.worse_10.images)
    found = [part(ALL, "all composites", lambda _: True), *of_kinds, *of_categories]
    return [one for one in found if one.worse_10.images]


def category(row: Row, categories: Mapping[str, str]) -> str:
    """The category of a composite ``X_M_K.jpg``, whose mask is ``X_M``; empty if it has none."""
    return categories.get(parts_of(row.name)[1], "")


def is_limit(part: Part, overall: Part) -> bool:
    """Whether the weights do harm on a kind; the module says when."""
    enough = part.worse_10.images >= LEAST_IMAGES and part.worse_10.photos >= LEAST_PHOTOS
    return enough and part.worse_10.low > overall.worse_10.mean and part.after > HARDLY * part.before


def findings(found: Sequence[Part], strength: float) -> Findings:
    """What goes with the weights.

    Args:
        found: of :func:`parts`, all composites first.
        strength: of the same.
    """
    overall, *others = found
    return Findings(strength=strength, limits=[_limit(one, overall) for one in others if is_limit(one, overall)])


def _limit(part: Part, overall: Part) -> Limit:
    share, images = part.worse_10.mean, part.worse_10.images
    return Limit(
        kind=part.kind,
        text=f"Where {part.text}, {100 * share:.0f} % of {images} composites became worse by more than a tenth "
        f"({100 * overall.worse_10.mean:.0f} % of all).",
        images=images,
        worse_10=share,
        overall=overall.worse_10.mean,
    )
