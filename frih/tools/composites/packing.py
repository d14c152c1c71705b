"""Photos and masks at the network's size in few bytes, to be copied to another machine.

::

    <out>/images/<photo>.webp    RGB, size x size pixels: the whole photo, squashed as the network sees it
    <out>/masks/<photo>.png      one bit a pixel
    <out>/photos.csv             name, category, and the folder that the photo came from
    <out>/manifest.json          settings, and what was written; written last

:mod:`~frih.tools.composites.making` makes composites of such a folder. Photos lose their shape on purpose: at the same number
of bytes, a photo that keeps it has fewer rows or columns than the network takes, and training would enlarge it. An interrupted
run can go on.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import cores, process_pool
from frih.data.images import HALF
from frih.data.transforms import FILTER
from frih.tools.composites.objects import Object, Skipped, choose_objects, describe_skipped, read_object, shown
from frih.tools.journal import Entry, Journal

MIN_SIZE = 64
QUALITY = 80
"""Of WebP: a photo of 256 x 256 takes some 10 KB."""


class Packed(NamedTuple):
    """Photos that are packed."""

    root: Path
    entries: list[Entry]
    """One for each photo: ``photo``, ``category``, ``source``, ``files``."""
    skipped: Skipped

    def describe(self) -> str:
        """How many photos were packed, their size, and what was skipped."""
        size = sum(size for entry in self.entries for size in entry["files"].values())
        lines = [f"{self.root}: {len(self.entries)} photos with masks, {size / 2**20:.1f} MiB"]
        if self.skipped:
            lines.append(f"  skipped: {describe_skipped(self.skipped)}")
        return "\n".join(lines)


def pack_photos(
    photos: Sequence[Path],
    out: Path,
    *,
    size: int = 256,
    quality: int = QUALITY,
    at_most: Mapping[str, int] | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Packed:
    """Packs all usable photos, or those that are missing.

    Args:
        photos: folders with ``images/`` and ``masks/``.
        out: the folder that is made.
        size: side in pixels of the square that photos and masks are resized to.
        quality: of WebP, 1 to 100.
        at_most: take so many photos of each category that it names; all by default.
        seed: of that choice.
        workers: processes; one for each core by default.
        progress: show progress bars.

    Raises:
        UserError: no photo is usable; or the folder holds something else, was made with other settings, is in use by another
            run, or cannot be written.
    """
    workers = cores() if workers is None else workers
    if size < MIN_SIZE or not 1 <= quality <= 100 or workers < 1:
        raise UserError(
            f"size {size}, quality {quality}, workers {workers}: must be {MIN_SIZE} or more, 1 to 100, 1 or more"
        )
    with process_pool(workers) as each:
        reading = partial(shown, each, "reading photos", "photo", progress)
        usable, digest, skipped = choose_objects(photos, None, at_most or {}, None, None, seed, reading)
        journal = Journal(out, {"size": size, "quality": quality, "photos": digest})

        def make(missing: list[Object]) -> Iterable[Entry]:
            for folder in ("images", "masks"):
                (out / folder).mkdir(exist_ok=True)
            return shown(each, "packing", "photo", progress, partial(_pack, out, journal.settings), missing)

        with journal.held("the packed photos"):
            entries, _ = journal.complete({item.photo: item for item in usable}, lambda entry: entry["photo"], make)
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(("name", "category", "source"))
            writer.writerows((entry["photo"], entry["category"], entry["source"]) for entry in entries)
            write_whole(out / "photos.csv", table.getvalue())
            journal.finish(entries, skipped=skipped)
    return Packed(out, entries, skipped)


def _pack(out: Path, settings: dict[str, Any], item: Object) -> Entry:
    real, mask = (Image.fromarray(one).resize((settings["size"],) * 2, FILTER) for one in read_object(item, None))
    photo_webp, mask_png = io.BytesIO(), io.BytesIO()
    real.save(photo_webp, "WEBP", quality=settings["quality"], method=6)
    Image.fromarray(np.asarray(mask) >= HALF).save(mask_png, "PNG", optimize=True)
    files = {}
    for name, file in ((f"images/{item.photo}.webp", photo_webp), (f"masks/{item.photo}.png", mask_png)):
        write_whole(out / name, file.getvalue())
        files[name] = len(file.getvalue())
    source = item.image.resolve().parent.parent.name
    return {"photo": item.photo, "category": item.category, "source": source, "files": files}
