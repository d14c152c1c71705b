"""How a network's error and harm depend on the share of its change that is made, all from one pass over a data set.

A result is the composite + strength x (the network's image - the composite), in 8 bits, as ``frih harmonize --strength`` makes
it at the network's size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from frih.common.errors import UserError
from frih.data.batches import Sample
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Item
from frih.data.images import Opened
from frih.evaluation import Evaluation, row_of
from frih.evaluation.statistics import Interval, bootstrap, paired, ratio
from frih.harmonizing.kinds import KINDS, kinds_of
from frih.metrics import Row, Target, with_harm

STRENGTHS = tuple(tenths / 10 for tenths in range(11))
PROTOCOL = "idih"
"""By which the fMSE is computed."""


@dataclass(frozen=True)
class Strengths(Evaluation):
    """An evaluation whose rows have figures for each of :data:`STRENGTHS`, with prefixes such as ``0.3_``.

    ``fmse``; ``worse`` and ``worse_10``, whether it is above the composite's ``input_fmse`` (:mod:`frih.metrics.harm`); and
    ``change``, the mean change inside the mask in levels of 0..255. All are NaN where the mask is empty. ``kind:dark`` and so
    on say 1 or 0: whether the composite is of a kind.
    """

    def score(self, sample: Sample, systems: Mapping[str, Mapping[str, np.ndarray]]) -> list[Row]:
        """A row for each system; see the class."""
        mask, before = sample.mask, sample.composite.astype(np.float64)
        target = Target(sample.real, sample.soft_mask / 255, PROTOCOL)
        rows = []
        for images in systems.values():
            kinds = kinds_of(sample.composite, mask, (images[""] - before) / 255)
            scores = {f"kind:{name}": float(name in kinds) for name in KINDS}
            scores["input_fmse"] = target.score(before)["fmse"]
            for strength in STRENGTHS:
                image = np.rint(before + strength * (images[""] - before))
                try:
                    scores[named(strength, "fmse")] = target.score(image)["fmse"]
                except ValueError as error:
                    raise UserError(f"{sample.item.name}: cannot be evaluated: {error}") from None
                inside = np.abs(image - before)[mask]
                scores[named(strength, "change")] = float(inside.mean()) if mask.any() else np.nan
            rows.append(row_of(sample, scores))
        return with_harm(rows)


class Unchanged(CompositeDataset):
    """The real images of a data set as composites that need no change, each once with each of its masks."""

    def __init__(self, images: CompositeDataset) -> None:
        self.__dict__.update(images.__dict__)
        self.items: Sequence[Item] = list({(item.real_name, item.mask_name): item for item in images.items}.values())

    def _open_whole(self, item: Item, mask_size: tuple[int, int]) -> tuple[Opened, Opened]:
        _, real = super()._open_whole(item, mask_size)
        return real, real


class Point(NamedTuple):
    """The figures of one strength."""

    strength: float
    fmse: Interval
    ratio: Interval
    """Of the mean fMSE to the composites'."""
    worse: Interval
    worse_10: Interval
    change: Interval
    """Of unchanged real images, inside the mask, in levels."""


def curve(rows: Sequence[Row], unchanged: Sequence[Row]) -> list[Point]:
    """The figures of each strength.

    Args:
        rows: of the composites.
        unchanged: of the real images as composites.
    """
    return [
        Point(
            strength,
            bootstrap(rows, named(strength, "fmse")),
            ratio(rows, named(strength, "fmse"), "input_fmse"),
            bootstrap(rows, named(strength, "worse")),
            bootstrap(rows, named(strength, "worse_10")),
            bootstrap(unchanged, named(strength, "change")),
        )
        for strength in STRENGTHS
    ]


def best_strength(rows: Sequence[Row]) -> float:
    """The strength of the least mean fMSE if this is clearly less than that of the whole change, which is 1; otherwise 1.

    "Clearly" means that the interval of the difference, image by image, lies below 0. The result is 0 if the composites
    themselves are better than any change of them.
    """
    best = min(STRENGTHS, key=lambda strength: bootstrap(rows, named(strength, "fmse")).mean)
    less = paired(rows, rows, named(best, "fmse"), other_score=named(1, "fmse"), higher_is_better=False)
    return best if less.high < 0 else 1.0


def named(strength: float, score: str) -> str:
    """The name of a score at a strength."""
    return f"{strength:g}_{score}"
