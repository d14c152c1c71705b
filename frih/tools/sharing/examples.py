"""The images on a model card: where the weights help most, and where they harm most."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from frih.common.drawing import image_sheet
from frih.common.errors import UserError
from frih.common.files import whole_file
from frih.data.iharmony4 import parts_of
from frih.data.images import reading
from frih.evaluation.rows import read_rows
from frih.metrics import Row
from frih.metrics.harm import relative_change
from frih.tools.report.saving import FINAL
from frih.tools.report.thumbnails import SIDE, Thumbnails

COUNT = 3
"""Images of each kind."""
STAGES = ("composite", "mask", "result", "real")


class Example(NamedTuple):
    """An evaluated composite."""

    folder: Path
    """The evaluation's."""
    row: Row

    @property
    def gain(self) -> float:
        """By how much the result's fMSE is below the composite's."""
        return self.row.scores["input_fmse"] - self.row.scores["fmse"]


def write_examples(folders: Sequence[Path], path: Path) -> None:
    """Writes a sheet of the composites with the largest gain, then of those with the largest harm, by fMSE.

    Args:
        folders: of evaluations, which keep small images for their reports.
        path: the JPEG file.

    Raises:
        UserError: a folder is no evaluation's with the composites' figures, or its images are missing or damaged.
    """
    examples = [Example(folder, row) for folder in folders for row in read_rows(folder / "rows.csv")]
    for example in examples:
        if not {"fmse", "input_fmse"} <= example.row.scores.keys():
            raise UserError(f"{example.folder / 'rows.csv'}: has no fMSE of composites and results; evaluate weights")
    chosen = choose(examples)
    sheet = image_sheet([_images(example) for example in chosen], STAGES, [*map(caption, chosen)])
    with whole_file(path) as file:
        Image.fromarray(sheet).save(file, "JPEG", quality=88)


def choose(examples: Sequence[Example], best: int = COUNT, worst: int = COUNT) -> list[Example]:
    """So many with the largest gain, the largest first; then those with the largest harm, the largest last.

    Each foreground is taken once for its gain and once for its harm. Those without an fMSE are left out.
    """
    order = sorted((one for one in examples if not np.isnan(one.gain)), key=lambda one: one.gain, reverse=True)
    gains = _each_foreground_once(order)[:best]
    harms = _each_foreground_once([one for one in reversed(order) if one not in gains])[:worst]
    return [*gains, *reversed(harms)]


def _each_foreground_once(examples: Sequence[Example]) -> list[Example]:
    first: dict[tuple[str, str], Example] = {}
    for one in examples:
        first.setdefault((one.row.subset, parts_of(one.row.name)[1] or one.row.name), one)
    return list(first.values())


def caption(example: Example) -> str:
    """A line on an example: its fMSE as a composite and as a result."""
    before, after = example.row.scores["input_fmse"], example.row.scores["fmse"]
    change = relative_change(after, before)
    words = "less" if change < 0 else "more"
    return f"{Path(example.row.name).stem}: fMSE {before:.0f} to {after:.0f}, {abs(change):.0f} % {words}"


def _images(example: Example) -> list[np.ndarray]:
    kept, (subset, name) = Thumbnails(example.folder), example.row[:2]
    stored = kept.stages(subset, name)
    result = next((stage for stage in FINAL if stage in stored), None)
    if result is None or "real" not in stored:
        raise UserError(f"{kept.path(subset, name, FINAL[0])}: is missing; evaluate again, by one protocol")
    return [_fitted(kept.path(subset, name, stage)) for stage in ("composite", "mask", result, "real")]


def _fitted(path: Path) -> np.ndarray:
    with reading(path), Image.open(path) as image:
        return np.asarray(ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="white"))
