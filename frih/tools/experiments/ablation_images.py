"""Sheets of images: what the rows of an ablation make of the same composites."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from frih.common.drawing import image_sheet
from frih.evaluation import evenly
from frih.evaluation.rows import read_rows
from frih.evaluation.statistics import match
from frih.metrics import Row
from frih.tools.report.thumbnails import Thumbnails

COUNT = 12
"""Composites on a sheet."""


def write_images(evaluations: Mapping[str, Path], prefix: Path) -> list[Path]:
    """Writes three sheets: every n-th composite, and those on which the last row is best and worst compared with the first.

    The columns are the composite, the submasks of the last row, each row's image, and the real image. They come from the
    images that ``evaluate.py`` keeps for its report.

    Args:
        evaluations: the folder of each row's evaluation, by the heading of its column; all of the same composites.
        prefix: the sheets are ``<prefix>-every-<n>.jpg``, ``<prefix>-best.jpg``, ``<prefix>-worst.jpg``.

    Returns:
        The files; none if there are fewer than two rows, or if an evaluation kept no images.

    Raises:
        UserError: the first and the last evaluation are of different images.
    """
    if len(evaluations) < 2:
        return []
    folders = list(evaluations.values())
    first, last = (read_rows(folders[i] / "rows.csv") for i in (0, -1))
    gains = np.array([_gain(before, after) for before, after in zip(first, match(first, last), strict=True)])
    order = [i for i in np.argsort(gains, kind="stable").tolist() if not np.isnan(gains[i])]
    chosen = {
        f"every-{max(1, len(first) // COUNT)}": evenly(len(first), COUNT),
        "best": order[-COUNT:][::-1],
        "worst": order[:COUNT],
    }
    sheets = {name: [images_of(folders, first[i]) for i in indices] for name, indices in chosen.items()}
    if not all(rows and all(rows) for rows in sheets.values()):
        return []
    written = []
    for name, rows in sheets.items():
        path = prefix.with_name(f"{prefix.name}-{name}.jpg")
        sheet = image_sheet(rows, ["composite", "submasks", *evaluations, "real"])
        Image.fromarray(sheet).save(path, quality=90)
        written.append(path)
    return written


def _gain(first: Row, last: Row) -> float:
    """The logarithm of the first row's fMSE over the last row's; NaN if one is unknown."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(first.scores["fmse"]) - np.log(last.scores["fmse"]))


def images_of(folders: Sequence[Path], row: Row) -> list[np.ndarray]:
    """A line of a sheet: composite, the last evaluation's submasks, each one's image, real image; empty if one is missing."""
    subset, name = row.subset, row.name
    kept = [Thumbnails(folder) for folder in folders]
    final = [(one, "refined" if "refined" in one.stages(subset, name) else "prediction") for one in kept]
    shown = [(kept[-1], "composite"), (kept[-1], "submasks"), *final, (kept[-1], "real")]
    files = [one.path(subset, name, stage) for one, stage in shown]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files] if all(map(Path.is_file, files)) else []
