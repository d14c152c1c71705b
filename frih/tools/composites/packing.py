"""Photos and masks at the network's size in few bytes, to be carried to another machine.

::

    <out>/images/<photo>.webp    RGB, size x size pixels: the whole photo, squashed as the network sees it
    <out>/masks/<photo>.png      one bit a pixel
    <out>/photos.csv             name, category, and the folder the photo came from
    <out>/manifest.json          settings, and what was written; written last

This is the form of photos that :mod:`~frih.tools.composites.making` makes composites of. A photo that keeps its shape would be
smaller, but then have fewer rows or columns than the network takes, and be enlarged in training. A run that was interrupted
goes on.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.common.processes import Map, cores, process_pool
from frih.data.images import HALF
from frih.data.transforms import FILTER
from frih.tools.composites.objects import (
    Object,
    Skipped,
    choose_usable,
    describe_skipped,
    limit_categories,
    list_objects,
    read_object,
    shown,
)
from frih.tools.journal import Entry, Journal

MIN_SIZE = 64
QUALITY = 80
"""Of WebP: some 10 KB a photo of 256 x 256."""


class Packed(NamedTuple):
    """Photos that are packed."""

    root: Path
    entries: list[Entry]
    """One for each: ``photo``, ``category``, ``source``, ``files``."""
    skipped: Skipped

    def describe(self) -> str:
        """What was packed, for people."""
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
    """Packs all photos that are of use, or those that are missing.

    Args:
        photos: folders with ``images/`` and ``masks/``.
        out: the folder to be made.
        size: side of the square that photos and masks are resized to, in pixels.
        quality: of WebP, 1 to 100.
        at_most: photos that are taken of each category it names; all by default.
        seed: of that choice.
        workers: processes; as many as there are cores by default.
        progress: show progress bars.

    Raises:
        UserError: no usable photo; the folder holds something else, was made with other settings, is another run's, or cannot
            be written.
    """
    workers = cores() if workers is None else workers
    if size < MIN_SIZE or not 1 <= quality <= 100 or workers < 1:
        raise UserError(
            f"size {size}, quality {quality}, workers {workers}: must be {MIN_SIZE} or more, 1 to 100, 1 or more"
        )
    candidates, skipped = list_objects(photos, None)
    candidates = limit_categories(candidates, skipped, at_most or {}, seed)
    with process_pool(workers) as each:
        usable, digest = choose_usable(
            candidates, skipped, None, None, partial(shown, each, "reading photos", "photo", progress)
        )
        if not usable:
            raise UserError(f"{', '.join(map(str, photos))}: no usable photo; {describe_skipped(skipped)}")
        settings = {"size": size, "quality": quality, "photos": f"{len(usable)} of digest {digest}"}
        journal = Journal(out, settings)
        try:
            with journal.held():
                entries = _pack_missing(journal, usable, partial(shown, each, "packing", "photo", progress))
                table = io.StringIO()
                writer = csv.writer(table, lineterminator="\n")
                writer.writerow(("name", "category", "source"))
                writer.writerows((entry["photo"], entry["category"], entry["source"]) for entry in entries)
                write_whole(out / "photos.csv", table.getvalue())
                journal.finish(entries, skipped=skipped)
        except OSError as error:
            raise UserError(f"{out}: the photos cannot be written there ({error})") from error
    return Packed(out, entries, skipped)


def _pack_missing(journal: Journal, items: Sequence[Object], each: Map) -> list[Entry]:
    done = {entry["photo"]: entry for entry in journal.read()}
    missing = [item for item in items if item.photo not in done]
    if missing:
        for folder in ("images", "masks"):
            (journal.folder / folder).mkdir(exist_ok=True)
        with journal.open(list(done.values())) as add:
            for entry in each(partial(_pack, journal.folder, journal.settings), missing):
                add(entry)
                done[entry["photo"]] = entry
    return [done[item.photo] for item in items]


def _pack(out: Path, settings: dict[str, Any], item: Object) -> Entry:
    real, mask = (Image.fromarray(one).resize((settings["size"],) * 2, FILTER) for one in read_object(item, None))
    files = {}
    for name, image, options in (
        (f"images/{item.photo}.webp", real, {"quality": settings["quality"], "method": 6}),
        (f"masks/{item.photo}.png", Image.fromarray(np.asarray(mask) >= HALF), {"optimize": True}),
    ):
        file = io.BytesIO()
        image.save(file, "WEBP" if name.endswith("webp") else "PNG", **options)
        write_whole(out / name, file.getvalue())
        files[name] = len(file.getvalue())
    source = item.image.resolve().parent.parent.name
    return {"photo": item.photo, "category": item.category, "source": source, "files": files}
