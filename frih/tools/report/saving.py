"""The harmonized images of an evaluation as files, which ``evaluate.py --predictions`` reads."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import locked, whole_file
from frih.data.iharmony4 import Item
from frih.metrics import Row
from frih.tools.journal import LOCK, Journal

FINAL = ("refined", "prediction")
"""Stages that may be the harmonized image; the first that there is, is."""


class SavedImages:
    """Images in a folder: ``<folder>/<subset>/<name of the composite>.png``, without loss.

    The folder also has a manifest of :mod:`frih.tools.journal`. Several processes may write images at the same time.

    Args:
        folder: is made if it is not there.
        items: the composites.
        settings: all that decides what the images are, for JSON.
    """

    def __init__(self, folder: Path, items: Sequence[Item], settings: dict[str, Any]) -> None:
        self.folder, self.items = folder, items
        self.journal = Journal(folder, settings, key="images")

    def refuse(self, inputs: Iterable[Path]) -> None:
        """Checks that the images fit beside each other, and do not come among files that are read or written otherwise.

        Raises:
            UserError: two images would have one name, or one would lie in one of these folders.
        """
        composites: dict[Path, str] = {}
        for item in self.items:
            other = composites.setdefault(self.path(item.subset, item.composite_name), item.name)
            if other != item.name:
                raise UserError(f"--save-images: {other} and {item.name} would be one file; rename a composite")
        places = {place.resolve() for place in {path.parent for path in composites} | {self.folder}}
        for folder in inputs:
            if any(place.is_relative_to(folder.resolve()) for place in places):
                raise UserError(
                    f"--save-images {self.folder}: lies in {folder}, which is in use; give a folder elsewhere"
                )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the work of all processes, in one of them. Ends with the manifest.

        Raises:
            UserError: another process writes there, or the folder holds anything else than these images.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK):
            self.journal.read()
            with self.journal.open([]):
                yield
            files = (self.path(item.subset, item.composite_name) for item in self.items)
            sizes = {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in files}
            self.journal.finish([{"files": {name: size}} for name, size in sizes.items()])

    def add(self, subset: str, name: str, stages: Mapping[str, np.ndarray]) -> None:
        """Writes the image of a composite, whole, from the stages of its harmonization, (H, W, 3) uint8 each."""
        path = self.path(subset, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        image = next(stages[stage] for stage in FINAL if stage in stages)
        with whole_file(path) as file:
            Image.fromarray(image).save(file, "PNG", compress_level=1)  # more takes seconds, of large images

    def has(self, row: Row) -> bool:
        """Whether the image of a row is there."""
        return self.path(row.subset, row.name).is_file()

    def path(self, subset: str, name: str) -> Path:
        """Where the image of a composite is."""
        return self.folder / subset / f"{Path(name).stem}.png"
