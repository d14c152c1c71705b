"""An oracle: the error that is left of an image after the best correction of each part of its foreground.

Corrections are fitted to the real image, so no network reaches them. They show how much of the error is one wrong colour of the
whole foreground, how much differs from part to part, and which division of the foreground could remove most of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from frih.common.errors import UserError, did_you_mean
from frih.config import SubmaskConfig
from frih.data.batches import Sample
from frih.data.images import HALF
from frih.evaluation import Evaluation, row_of
from frih.evaluation.layout import Table, figure
from frih.evaluation.tables import groups
from frih.metrics import Row
from frih.submasks import extract_submasks

Colors = NDArray[np.float64]
Correction = Callable[[Colors, Colors], Colors]
"""From colours (N, 3) and the real ones to corrected colours."""

PAPER = "cfsfdp:0.1"
"""The paper's division."""
METHODS = ("whole", PAPER, "cfsfdp:0.02", "gamma:10", "kmeans:4", "kmeans:8")
"""The default divisions."""
KEYS = {"cfsfdp": "cutoff", "gamma": "candidates", "kmeans": "clusters", "random": "clusters"}
"""The key that the number behind a method's name sets."""
AS_IS = "as it is"
FEW = 30
"""A part with fewer pixels is only shifted, because an affine map has twelve numbers."""


@dataclass(frozen=True)
class Oracle(Evaluation):
    """An evaluation whose scores are errors in the foreground after the best correction of each part.

    For each prefix (``""``, ``input_``, ``coarse_``) a row has the fMSE :data:`AS_IS` and, by each method's name, the fMSE left
    after corrections. Without prefix it has for each method ``submasks:<name>``, the number of submasks, and ``largest:<name>``
    and ``three:<name>``, the shares of the foreground in the largest submask and in the three largest. All are NaN without a
    foreground. The parts are those of the composite at ``data.size``, as in training.
    """

    methods: Mapping[str, SubmaskConfig] = field(default_factory=dict)
    """Divisions of the foreground, by name."""
    correction: str = "shift"
    """One of :data:`CORRECTIONS`."""

    def score(self, sample: Sample, systems: Mapping[str, Mapping[str, np.ndarray]]) -> list[Row]:
        """A row for each system; see the class."""
        inside = sample.soft_mask >= HALF
        divisions = {
            name: extract_submasks(sample.composite, inside, **method.model_dump())[inside]
            for name, method in self.methods.items()
        }
        real, correct = sample.real[inside].astype(np.float64), CORRECTIONS[self.correction]
        rows = []
        for images in systems.values():
            scores = _shares(divisions)
            if images[""] is not sample.composite:
                images = {**images, "input_": sample.composite}
            for prefix, image in images.items():
                found = remaining(image[inside].astype(np.float64), real, divisions, correct)
                scores |= {prefix + name: value for name, value in found.items()}
            rows.append(row_of(sample, scores))
        return rows


def parse_method(text: str, option: str = "--methods", also: Sequence[str] = ()) -> SubmaskConfig:
    """A division from its short form: a value of ``submasks.method``, with or without its number (:data:`KEYS`).

    Args:
        text: the short form.
        option: the option of the command line that takes it, for messages.
        also: what else that option takes.

    Raises:
        UserError: there is no such method, or its number is not one or out of range.
    """
    method, colon, number = text.partition(":")
    known = ("whole", *KEYS)
    if method not in known:
        listed = ", ".join((*known, *also))
        raise UserError(f"{option}: {text!r} begins with none of {listed}{did_you_mean(method, (*known, *also))}")
    if colon and method not in KEYS:
        raise UserError(f"{option}: {text!r}: {method} takes no number")
    try:
        settings = {KEYS[method]: float(number) if method == "cfsfdp" else int(number)} if colon else {}
        return SubmaskConfig.model_validate({"method": method, **settings})
    except ValidationError as error:
        problem = error.errors()[0]["msg"].lower()
        raise UserError(f"{option}: {text!r}: submasks.{KEYS[method]}: {problem}") from None
    except ValueError:
        raise UserError(f"{option}: {text!r}: {number!r} is not a number for submasks.{KEYS[method]}") from None


def remaining(
    x: Colors, y: Colors, divisions: Mapping[str, NDArray[np.uint8]], correct: Correction
) -> dict[str, float]:
    """The mean squared error over pixels and channels: :data:`AS_IS`, and for each division after correcting each part.

    Args:
        x: (N, 3) colours of a foreground, 0..255.
        y: (N, 3) the real colours.
        divisions: (N,) the part of each pixel, for each division.
        correct: the correction fitted to each part.
    """
    if len(x) == 0:
        return dict.fromkeys([AS_IS, *divisions], np.nan)
    found = {AS_IS: float(np.square(y - x).mean())}
    for name, labels in divisions.items():
        parts = [labels == k for k in np.unique(labels)]
        found[name] = float(sum(np.square(y[part] - correct(x[part], y[part])).sum() for part in parts) / y.size)
    return found


def shift(x: Colors, y: Colors) -> Colors:
    """The colours x (N, 3), all shifted by the mean difference to y."""
    shifted: Colors = x + (y - x).mean(axis=0)
    return shifted


def affine(x: Colors, y: Colors) -> Colors:
    """The colours x (N, 3) after the affine map that fits y best in least squares; fewer than :data:`FEW` are shifted."""
    if len(x) < FEW:
        return shift(x, y)
    terms = np.column_stack([x, np.ones(len(x))])
    mapped: Colors = terms @ np.linalg.lstsq(terms, y, rcond=None)[0]
    return mapped


CORRECTIONS: Mapping[str, Correction] = {"shift": shift, "affine": affine}


def _shares(divisions: Mapping[str, NDArray[np.uint8]]) -> dict[str, float]:
    scores = {}
    for name, labels in divisions.items():
        counts = np.sort(np.unique(labels, return_counts=True)[1])[::-1] if len(labels) else np.full(1, np.nan)
        scores[f"submasks:{name}"] = float(len(counts)) if len(labels) else np.nan
        scores[f"largest:{name}"] = float(counts[0] / counts.sum())
        scores[f"three:{name}"] = float(counts[:3].sum() / counts.sum())
    return scores


def left(rows: Sequence[Row], prefix: str, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """The fMSE left, by sub-dataset and over all. Images without foreground do not count.

    Args:
        rows: of an :class:`Oracle` that has these methods and :data:`PAPER`.
        prefix: of the scores.
        methods: their names.

    Returns:
        For each sub-dataset and "All": ``images``, their number; the mean fMSE :data:`AS_IS` and after each method's
        corrections; ``largest``, the median share of the foreground in the largest submask of the paper's rule.
    """
    found: dict[str, dict[str, float]] = {}
    for name, belongs in groups(rows)["subsets"].items():
        part = [row for row in rows if belongs(row) and row.fg_ratio > 0]
        if part:
            means = {column: _mean(part, prefix + column) for column in (AS_IS, *methods)}
            found[name] = {"images": len(part), **means, "largest": _median(part, f"largest:{PAPER}")}
    return found


def sizes(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """The number of submasks and their shares of the foreground for each method, over all images with a foreground."""
    part = [row for row in rows if row.fg_ratio > 0]
    return {
        name: {
            "submasks (mean)": _mean(part, f"submasks:{name}"),
            "largest (median)": _median(part, f"largest:{name}"),
            "three largest (mean)": _mean(part, f"three:{name}"),
        }
        for name in methods
    }


def left_table(found: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """The table of :func:`left`."""
    columns = [column for column in next(iter(found.values())) if column != "images"]
    lines = []
    for name, cell in found.items():
        figures = [figure("fmse", cell[column]) for column in columns[:-1]]
        lines.append([f"{name} ({cell['images']})", *figures, f"{cell['largest']:.1%}"])
    return Table("fMSE", columns, [], lines, (), title)


def size_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """The table of :func:`sizes`."""
    columns = list(next(iter(found.values())))
    lines = [
        [name, f"{cell[columns[0]]:.2f}", *(f"{cell[column]:.1%}" for column in columns[1:])]
        for name, cell in found.items()
    ]
    return Table("method", columns, [], lines, (), "Submasks of a foreground, and their shares of it")


def _mean(rows: Sequence[Row], score: str) -> float:
    return float(np.mean([row.scores[score] for row in rows]))


def _median(rows: Sequence[Row], score: str) -> float:
    return float(np.median([row.scores[score] for row in rows]))
