"""Faults of a data set's files. Several processes read each file once; then files that belong together are compared."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.processes import process_pool
from frih.common.progress import progress_bar
from frih.common.wording import counted
from frih.data.iharmony4 import SPLITS
from frih.data.images import DEEP_MODES, HALF, UNLIKE_RGB, as_grey, is_transparent, open_mask, open_rgb, reading
from frih.data.transforms import has_foreground, whole
from frih.tools.datasets.check_report import Finding
from frih.tools.datasets.check_subset import CheckedSubset, Group, Task, Triple, without_path
from frih.tools.datasets.displacement import Change, coarse, coarse_mask, locate_change

_CHUNK = 4
_NEARLY_ALL = 0.9


def check_files(
    root: Path, subsets: Sequence[CheckedSubset], size: int, workers: int, progress: bool
) -> Iterator[Finding]:
    """Reads every file of the subsets; see :func:`frih.tools.datasets.check.check_dataset`."""
    groups = [group for subset in subsets for group in subset.groups()]
    bar = partial(progress_bar, desc="checking", unit="photo", total=len(groups), disable=not progress, leave=False)
    facts: dict[Task, _Facts] = {}
    changes: dict[Triple, Change] = {}
    with process_pool(workers, chunk=_CHUNK) as each:
        for read, located in bar(each(partial(_read_group, str(root), size), groups)):
            facts |= read
            changes |= located
    yield from _check_notes(facts)
    yield from _check_sizes(subsets, facts)
    yield from _check_copies(subsets, facts)
    yield from _check_foreground(subsets, facts)
    yield from _check_changes(subsets, changes)


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
                stops = kind in ("unreadable", "mode", "mask-0-1", "mask-labels", "mask-coloured")
                yield Finding(kind, task.path, message, stops and task.used)
    for subset, count in grey.items():
        message = f"{count} of {masks[subset]} hold values between 0 and 255; foreground is {HALF} or more"
        yield Finding("mask-grey", f"{subset}/masks", message, False)


def _check_sizes(subsets: Sequence[CheckedSubset], facts: dict[Task, _Facts]) -> Iterator[Finding]:
    sizes = {task: found.size for task, found in facts.items() if found.size}
    for triple in (triple for subset in subsets for triples in subset.triples.values() for triple in triples):
        for task in (triple.mask, triple.real):
            if task and triple.composite and task in sizes and triple.composite in sizes:
                ours, theirs = sizes[triple.composite], sizes[task]
                if ours != theirs:
                    message = "is {} x {} pixels, but {} is {} x {}".format(*theirs, triple.composite.path, *ours)
                    yield Finding("size", task.path, message, True)


def _check_copies(subsets: Sequence[CheckedSubset], facts: dict[Task, _Facts]) -> Iterator[Finding]:
    """Real images in both splits with the same content and different names."""
    digests = {task.path: found.digest for task, found in facts.items() if found.digest}
    trained: dict[str, set[str]] = defaultdict(set)
    tested: dict[str, set[str]] = defaultdict(set)
    for subset in subsets:
        for split, found in (("train", trained), ("test", tested)):
            for triple in subset.triples[split]:
                path = triple.real.path if triple.real else ""
                if path in digests:
                    found[digests[path]].add(path)
    for digest in trained.keys() & tested.keys():
        for path in tested[digest] - trained[digest]:
            message = f"is for testing, but is the same file as {min(trained[digest])}, which is for training"
            yield Finding("photo-in-both", path, message, True)


def _check_foreground(subsets: Sequence[CheckedSubset], facts: dict[Task, _Facts]) -> Iterator[Finding]:
    """Splits whose masks are all empty; training and evaluation refuse them."""
    for split in SPLITS:
        masks = {triple.mask for subset in subsets for triple in subset.triples[split] if triple.mask}
        if masks and all("mask-empty" in dict(facts[mask].notes) for mask in masks):
            lists = dict.fromkeys(subset.splits[split].source for subset in subsets if subset.triples[split])
            message = f"no mask of the {split} split has foreground, of {len(masks)}; foreground is 255, background 0"
            yield Finding("no-foreground", ", ".join(filter(None, lists)), message, True)


def _check_changes(subsets: Sequence[CheckedSubset], changes: dict[Triple, Change]) -> Iterator[Finding]:
    """Composites that differ from their real image elsewhere than in the mask, and whether nearly all of a subset do."""
    for subset in subsets:
        triples = {triple for triples in subset.triples.values() for triple in triples if triple in changes}
        judged = [changes[triple] for triple in triples if changes[triple].counts]
        for triple, change in changes.items():
            if triple in triples and change.elsewhere and triple.composite and triple.mask and triple.real:
                share = change.outside / (change.inside + change.outside)
                message = f"{share:.0%} of what differs from {triple.real.path} is outside of {triple.mask.path}"
                advice = (
                    "it seems inverted" if change.inverted else "it seems to lie elsewhere, or to be another image's"
                )
                yield Finding("mask-elsewhere", triple.composite.path, f"{message}; {advice}", True)
        elsewhere = [change for change in judged if change.elsewhere]
        if len(elsewhere) > 1 and len(elsewhere) >= _NEARLY_ALL * len(judged):
            inverted = sum(change.inverted for change in elsewhere) > len(elsewhere) / 2
            advice = (
                "are they inverted? foreground is 255, background 0" if inverted else "do they belong to other images?"
            )
            message = f"{len(elsewhere)} of {len(judged)} composites differ elsewhere than in their masks; {advice}"
            yield Finding("masks-elsewhere", f"{subset.name}/masks", message, True)


def _read_group(root: str, size: int, group: Group) -> tuple[dict[Task, _Facts], dict[Triple, Change]]:
    """Reads the files of a photo, each once, and compares its composites with it."""
    facts, cells = {}, {}
    for task in group.tasks:
        facts[task], cells[task] = _read(root, size, task, bool(group.triples))
    changes = {}
    for triple in group.triples:
        if triple.mask and "mask-empty" in dict(facts[triple.mask].notes):
            continue  # it lies nowhere, which is a finding already
        composite, mask, real = (cells[task] if task else None for task in triple[:3])
        if composite and mask and real and len({facts[task].size for task in triple.tasks()}) == 1:
            changes[triple] = locate_change(composite, mask, real)
    return facts, changes


def _read(root: str, size: int, task: Task, compare: bool) -> tuple[_Facts, Image.Image | None]:
    """Reads one file; an error becomes a note, so that the other files are read too.

    Returns:
        What is known of it, and its cells if it is to be compared.
    """
    path, is_mask = Path(root, task.path), task.folder == "masks"
    try:
        image = open_mask(path) if is_mask else open_rgb(path)
    except Exception as error:  # whatever it is, the other files are read
        return _Facts(notes=((_kind_of_refusal(path, is_mask), without_path(error, path)),)), None
    cells = (coarse_mask if is_mask else coarse)(image) if compare else None
    if is_mask:
        return _Facts(image.size, notes=tuple(_look_at_mask(image, size))), cells
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if task.folder == "real_images" else ""
    colourless = (("greyscale", "has no colour"),) if _is_grey(np.asarray(image)) else ()
    return _Facts(image.size, digest, colourless), cells


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
    """Whether a refused file is damaged, has an unsuitable mode, or is an image or a map of labels in place of a mask."""
    try:
        with reading(path), Image.open(path) as image:
            image.load()
            clear = is_transparent(image)
    except UserError:
        return "unreadable"
    if not is_mask or clear or image.mode in (*DEEP_MODES, *UNLIKE_RGB):
        return "mode"
    try:
        largest = as_grey(image, str(path)).getextrema()[1]
    except UserError:
        return "mask-coloured"
    return "mask-0-1" if largest == 1 else "mask-labels" if largest < HALF else "mode"  # type: ignore[operator]
