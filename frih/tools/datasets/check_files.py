"""Faults of a data set's files. Several processes read each file once; then files that belong together are compared."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.common.processes import process_pool
from frih.common.progress import progress_bar
from frih.common.wording import counted
from frih.data.iharmony4 import FOLDERS
from frih.data.images import DEEP_MODES, HALF, open_mask, open_rgb
from frih.data.transforms import has_foreground, whole
from frih.tools.datasets.check_report import Finding
from frih.tools.datasets.check_subset import CheckedSubset, Task, without_path

_CHUNK = 4


def check_files(
    root: Path, subsets: Sequence[CheckedSubset], size: int, workers: int, progress: bool
) -> Iterator[Finding]:
    """Reads every file of the subsets; see :func:`frih.tools.datasets.check.check_dataset`."""
    tasks = [task for subset in subsets for task in subset.tasks()]
    bar = partial(progress_bar, desc="checking", unit="file", total=len(tasks), disable=not progress, leave=False)
    with process_pool(workers, chunk=_CHUNK) as each:
        facts = dict(zip(tasks, bar(each(partial(_read, str(root), size), tasks)), strict=True))
    yield from _check_notes(facts)
    yield from _check_sizes(subsets, facts)
    yield from _check_copies(subsets, facts)


class _Facts(NamedTuple):
    """What is known of a file after reading it."""

    size: tuple[int, int] | None = None
    """(width, height), upright; None if it could not be read."""
    digest: str = ""
    """Of a real image's file."""
    notes: tuple[tuple[str, str], ...] = ()
    """(kind, message) of its faults."""


def _check_notes(facts: dict[Task, _Facts]) -> Iterator[Finding]:
    """Faults of single files; grey masks are counted for each subset, because there may be thousands."""
    grey: Counter[str] = Counter()
    masks = Counter(task.subset for task in facts if task.folder == "masks")
    for task, found in facts.items():
        for kind, message in found.notes:
            if kind == "mask-grey":
                grey[task.subset] += 1
            else:
                stops = kind in ("unreadable", "mode", "mask-0-1")
                yield Finding(kind, task.path, message, stops and task.used)
    for subset, count in grey.items():
        message = f"{count} of {masks[subset]} hold values between 0 and 255; foreground is {HALF} or more"
        yield Finding("mask-grey", f"{subset}/masks", message, False)


def _check_sizes(subsets: Sequence[CheckedSubset], facts: dict[Task, _Facts]) -> Iterator[Finding]:
    sizes = {task.path: found.size for task, found in facts.items() if found.size}
    for subset in subsets:
        for triple in (triple for triples in subset.triples.values() for triple in triples):
            composite, *others = (
                f"{subset.name}/{folder}/{name}" for folder, name in zip(FOLDERS, triple, strict=True)
            )
            for path in others:
                ours, theirs = sizes.get(composite), sizes.get(path)
                if ours and theirs and ours != theirs:
                    message = "is {} x {} pixels, but {} is {} x {}".format(*theirs, composite, *ours)
                    yield Finding("size", path, message, True)


def _check_copies(subsets: Sequence[CheckedSubset], facts: dict[Task, _Facts]) -> Iterator[Finding]:
    """Real images in both splits with the same content and different names."""
    digests = {task.path: found.digest for task, found in facts.items() if found.digest}
    trained: dict[str, set[str]] = defaultdict(set)
    tested: dict[str, set[str]] = defaultdict(set)
    for subset in subsets:
        for split, found in (("train", trained), ("test", tested)):
            for triple in subset.triples[split]:
                path = f"{subset.name}/real_images/{triple.real}"
                if path in digests:
                    found[digests[path]].add(path)
    for digest in trained.keys() & tested.keys():
        for path in tested[digest] - trained[digest]:
            message = f"is for testing, but is the same file as {min(trained[digest])}, which is for training"
            yield Finding("photo-in-both", path, message, True)


def _read(root: str, size: int, task: Task) -> _Facts:
    """Reads one file; an error becomes a note, so that the other files are read too."""
    path = Path(root, task.path)
    try:
        image = open_mask(path) if task.folder == "masks" else open_rgb(path)
    except Exception as error:  # decoders raise all kinds of errors for damaged files
        return _Facts(notes=((_kind_of_refusal(path, task.folder == "masks"), without_path(error, path)),))
    if task.folder == "masks":
        return _Facts(image.size, notes=tuple(_look_at_mask(image, size)))
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if task.folder == "real_images" else ""
    colourless = (("greyscale", "has no colour"),) if _is_grey(np.asarray(image)) else ()
    return _Facts(image.size, digest, colourless)


def _look_at_mask(mask: Image.Image, size: int) -> Iterator[tuple[str, str]]:
    histogram = np.array(mask.histogram())
    if not histogram[HALF:].any():
        yield "mask-empty", f"has no foreground (no value of {HALF} or more)"
    elif not has_foreground(mask, whole(mask), size):
        pixels = counted(int(histogram[HALF:].sum()), "pixel")
        yield "mask-vanishes", f"has no foreground left at {size} x {size}, of {pixels} at its own size"
    if histogram[1:255].any():
        yield "mask-grey", ""


def _is_grey(image: np.ndarray) -> bool:
    """Whether all channels agree; a few pixels decide for almost all images."""
    return all(bool((part[..., :1] == part[..., 1:]).all()) for part in (image[::16, ::16], image))


def _kind_of_refusal(path: Path, is_mask: bool) -> str:
    """Whether a refused file is damaged, has an unsuitable mode, or is a mask of 0 and 1."""
    try:
        with Image.open(path) as image:
            image.load()
            plain = image.mode not in DEEP_MODES and "transparency" not in image.info and "A" not in image.getbands()
            return "mask-0-1" if is_mask and plain and image.convert("L").getextrema()[1] == 1 else "mode"
    except Exception:  # as above
        return "unreadable"
