"""Checks a data set: reads every file once and names all that is wrong with it, where training would stop at the first fault.

What it finds is an error where training or evaluation would stop or go wrong, and otherwise a remark. :data:`KINDS` lists all
kinds of findings; docs/data.md says what each means.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from frih.data.iharmony4 import choose_subsets, read_lines
from frih.data.pictures import DEEP_MODES, HALF, open_mask, open_rgb
from frih.data.transforms import has_foreground, whole
from frih.errors import UserError
from frih.files import write_whole
from frih.processes import cores, process_pool

SPLITS = ("train", "test")
FOLDERS = ("composite_images", "masks", "real_images")

PUBLISHED = {
    "HCOCO": {"train": 38545, "test": 4283},
    "HAdobe5k": {"train": 19437, "test": 2160},
    "HFlickr": {"train": 7449, "test": 828},
    "Hday2night": {"train": 311, "test": 133},
}
"""How many composites iHarmony4 has."""

KINDS = {
    "list-missing": "no list of a split",
    "list-unreadable": "lists that cannot be read",
    "list-empty": "lists without a composite",
    "list-differs": "a subset's own list and the common one differ",
    "list-strangers": "the common list names what is not in the root",
    "name": "composites not named X_M_K.jpg",
    "twice": "composites named twice by one list",
    "in-both-lists": "composites in the lists of both splits",
    "photo-in-both": "real pictures in both splits",
    "count": "not as many composites as iHarmony4 has",
    "folder-missing": "folders that are missing, empty or cannot be read",
    "missing": "files that a list needs but that are not there",
    "ambiguous": "several files where one is needed",
    "orphan": "files that no list needs",
    "unreadable": "files that are truncated, damaged or no pictures",
    "mode": "pictures of a kind that is refused",
    "mask-0-1": "masks of 0 and 1 instead of 0 and 255",
    "size": "masks and real pictures not of their composite's size",
    "mask-empty": "masks without foreground",
    "mask-vanishes": "masks without foreground at the network's size",
    "mask-grey": "masks with grey values",
    "greyscale": "pictures without colour",
}
"""Every kind of finding, in the order in which they are told."""

_SHOWN = 3
_CHUNK = 4


class Finding(NamedTuple):
    """Something that is not as it should be, or that one should know."""

    kind: str
    """A key of :data:`KINDS`."""
    path: str
    """The file or folder, from the root on."""
    message: str
    error: bool
    """Whether training or evaluation would stop or go wrong; otherwise it is a remark."""


class Split(NamedTuple):
    """One split of one subset, as its list has it."""

    names: list[str]
    """Of the composites, each once."""
    source: str | None
    """The list that was used, from the root on; None where there is none."""


class Report(NamedTuple):
    """All that was found in a data set."""

    root: str
    size: int
    splits: dict[str, dict[str, Split]]
    """By subset, then by ``"train"`` and ``"test"``."""
    files: dict[str, dict[str, int]]
    """How many files there are, by subset and folder."""
    findings: list[Finding]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(finding.error for finding in self.findings)

    def describe(self) -> str:
        """The counts, the lists that were used, and the first few findings of each kind; for people."""
        lines = [*self._table(), *self._lists(), *self._kinds(error=True), *self._kinds(error=False), self._end()]
        return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # file names need not be valid text

    def to_json(self) -> str:
        """Everything, with every finding."""
        subsets = {
            subset: {
                "files": self.files[subset],
                **{
                    name: {"list": split.source, "composites": len(split.names), "published": _published(subset, name)}
                    for name, split in splits.items()
                },
            }
            for subset, splits in self.splits.items()
        }
        findings = [finding._asdict() for finding in self.findings]
        head = {"root": self.root, "size": self.size, "errors": self.errors, "remarks": len(findings) - self.errors}
        return json.dumps({**head, "subsets": subsets, "findings": findings}, indent=1) + "\n"

    def _table(self) -> Iterator[str]:
        width = max(len("all"), *map(len, self.splits))
        yield f"{self.root}, its masks seen at {self.size} x {self.size} as well:"
        yield f"  {'listed':{width}}  {'train':>14}  {'test':>14}    files: composites, masks, real pictures"
        for subset, splits in self.splits.items():
            cells = "  ".join(f"{_of_published(subset, name, split):>14}" for name, split in splits.items())
            files = ", ".join(str(self.files[subset][folder]) for folder in FOLDERS)
            yield f"  {subset:{width}}  {cells}    {files}"
        totals = [sum(len(splits[name].names) for splits in self.splits.values()) for name in SPLITS]
        yield f"  {'all':{width}}  {totals[0]:>14}  {totals[1]:>14}"

    def _lists(self) -> Iterator[str]:
        for name in SPLITS:
            sources = dict.fromkeys(splits[name].source or "none" for splits in self.splits.values())
            yield f"lists of the {name} split: {', '.join(sources)}"

    def _kinds(self, *, error: bool) -> Iterator[str]:
        for kind, title in KINDS.items():
            chosen = [finding for finding in self.findings if finding.kind == kind and finding.error == error]
            if chosen:
                yield f"{'error' if error else 'remark'}: {title} ({kind}): {len(chosen)}"
                yield from (f"    {finding.path}: {finding.message}" for finding in chosen[:_SHOWN])
            if len(chosen) > _SHOWN:
                yield f"    ... and {len(chosen) - _SHOWN} more"

    def _end(self) -> str:
        return f"{_count(self.errors, 'error')}, {_count(len(self.findings) - self.errors, 'remark')}"


def check_dataset(
    root: str | Path,
    subsets: Sequence[str] | None = None,
    *,
    size: int = 256,
    workers: int | None = None,
    progress: bool = True,
) -> Report:
    """Reads every file of a data set in iHarmony4's layout and collects all that is wrong with it.

    The findings do not depend on the number of workers.

    Args:
        root: folder that holds the subsets.
        subsets: names of those to check; all that the root holds by default.
        size: the network's, at which masks are looked at as well.
        workers: processes that read; as many as there are cores by default. 0 and 1 read in this process.
        progress: show a progress bar.

    Raises:
        UserError: there is no data set at the root, or an unknown subset.
    """
    root = Path(root)
    chosen = [_Subset(root, name) for name in choose_subsets(root, subsets)]
    findings = [*_check_common_lists(root), *_check_absent_lists(chosen)]
    findings += _check_halves(root) if subsets is None else ()
    for subset in chosen:
        findings += subset.findings
    tasks = [task for subset in chosen for task in subset.tasks()]
    workers = cores() if workers is None else workers
    facts = dict(zip(tasks, _read_all(root, tasks, size, workers, progress), strict=True))
    findings += _check_files(facts)
    findings += _check_sizes(chosen, facts)
    findings += _check_copies(chosen, facts)
    order = list(KINDS)
    findings = sorted(set(findings), key=lambda finding: (order.index(finding.kind), finding[1:]))
    files = {subset.name: {folder: len(subset.files[folder]) for folder in FOLDERS} for subset in chosen}
    return Report(str(root), size, {subset.name: subset.splits for subset in chosen}, files, findings)


def write_lists(root: str | Path) -> list[Path]:
    """Writes the list files that are missing and follow from others; returns them. Nothing is overwritten.

    A subset's own list follows from the common one, ``IHD_<split>.txt``; that follows from the own lists of all subsets.

    Raises:
        UserError: there is no data set at the root, a list cannot be read, or none can be written there.
    """
    root = Path(root)
    subsets = choose_subsets(root, None)
    written = []
    for split in SPLITS:
        common = root / f"IHD_{split}.txt"
        own = {subset: root / subset / f"{subset}_{split}.txt" for subset in subsets}
        if common.is_file():
            entries = _entries(common)
            for subset, path in own.items():
                names = [name for folder, name in entries if folder == subset]
                if names and not path.exists():
                    written.append(_write(path, "".join(f"{name}\n" for name in names)))
        elif not common.exists() and all(path.is_file() for path in own.values()):
            names = [f"{subset}/composite_images/{name}\n" for subset in subsets for _, name in _entries(own[subset])]
            written.append(_write(common, "".join(names)))
    return written


def write_report(report: Report, path: Path) -> None:
    """Writes a report as JSON, whole or not at all.

    Raises:
        UserError: it cannot be written there.
    """
    _write(path, report.to_json())


class _Task(NamedTuple):
    """A file to be read."""

    subset: str
    folder: str
    name: str
    used: bool
    """Whether a list needs it."""

    @property
    def path(self) -> str:
        return f"{self.subset}/{self.folder}/{self.name}"


class _Facts(NamedTuple):
    """What reading a file has shown."""

    size: tuple[int, int] | None = None
    """(width, height), upright; None if it could not be read."""
    digest: str = ""
    """Of a real picture's bytes."""
    notes: tuple[tuple[str, str], ...] = ()
    """(kind, message) of what is wrong with it."""


class _Triple(NamedTuple):
    """The files of one composite; None for one that is not there."""

    composite: str | None
    mask: str | None
    real: str | None


class _Subset:
    """A subset's folders and lists, with the findings that need no picture."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.findings: list[Finding] = []
        self.files = {folder: self._list_folder(folder) for folder in FOLDERS}
        self.stems = {folder: _by_stem(files) for folder, files in self.files.items()}
        self.splits = {split: self._read_list(split) for split in SPLITS}
        self.triples = {split: self._match(found.names, found.source) for split, found in self.splits.items()}
        self.listed = any(found.source for found in self.splits.values())
        if not self.listed:
            self.triples["unlisted"] = self._match(sorted(self.files["composite_images"]), None)
        self._compare_splits()
        self._find_orphans()

    def tasks(self) -> list[_Task]:
        """Every file of the subset, apart from unused ones that do not look like pictures."""
        suffixes = Image.registered_extensions()
        tasks = []
        for folder in FOLDERS:
            used = self._used(folder)
            chosen = (name for name in sorted(self.files[folder]) if name in used or _suffix(name) in suffixes)
            tasks += [_Task(self.name, folder, name, name in used) for name in chosen]
        return tasks

    def _add(self, kind: str, path: str, message: str, *, error: bool) -> None:
        self.findings.append(Finding(kind, path, message, error))

    def _list_folder(self, folder: str) -> set[str]:
        try:
            names = {path.name for path in (self.root / self.name / folder).iterdir()}
            fault = "" if names else "is empty"
        except OSError as error:
            names, fault = set(), f"cannot be listed ({error.strerror})"
        if fault:
            self._add("folder-missing", f"{self.name}/{folder}", fault, error=True)
        return names

    def _read_list(self, split: str) -> Split:
        """The list that training would use, with what is wrong with its lines."""
        own, common = self.root / self.name / f"{self.name}_{split}.txt", self.root / f"IHD_{split}.txt"
        shared = [name for folder, name in _entries_or_none(common) if folder == self.name]
        if not own.is_file():
            return self._check_names(shared, split, common.name) if common.is_file() else Split([], None)
        path = f"{self.name}/{own.name}"
        try:
            names = [name for _, name in _entries(own)]
        except UserError as error:
            self._add("list-unreadable", path, _after(error, own), error=True)
            names = []
        if shared and set(shared) != set(names):
            differing = _count(len(set(shared) ^ set(names)), "composite")
            self._add("list-differs", path, f"is used, but differs from {common.name} by {differing}", error=False)
        return self._check_names(names, split, path)

    def _check_names(self, names: list[str], split: str, source: str) -> Split:
        if not names:
            self._add("list-empty", source, f"names no composite of {self.name} for the {split} split", error=False)
        for name, count in Counter(names).items():
            if count > 1:
                self._add("twice", source, f"names {name} {count} times", error=True)
        return Split(list(dict.fromkeys(names)), source)

    def _match(self, names: Iterable[str], source: str | None) -> list[_Triple]:
        """The files of each composite, by the rule of :func:`frih.data.iharmony4.read_split`."""
        triples = []
        for name in names:
            photo_and_mask = Path(name).stem.rpartition("_")[0]
            photo = photo_and_mask.rpartition("_")[0]
            if not photo:
                where = source or f"{self.name}/composite_images"
                self._add("name", where, f"{name!r} is not named X_M_K.jpg (photo, mask, variant)", error=True)
                continue
            composite = self._find_composite(name)
            mask = self._find("masks", photo_and_mask, ".png", name)
            triples.append(_Triple(composite, mask, self._find("real_images", photo, ".jpg", name)))
        return triples

    def _find_composite(self, name: str) -> str | None:
        if name in self.files["composite_images"]:
            return name
        if self.files["composite_images"]:  # a folder that is missing or empty is told once
            others = self.stems["composite_images"].get(Path(name).stem)
            hint = f"; the folder holds {', '.join(others)}" if others else ""
            path = f"{self.name}/composite_images/{name}"
            self._add("missing", path, f"is named by a list, but is not there{hint}", error=True)
        return None

    def _find(self, folder: str, stem: str, suffix: str, composite: str) -> str | None:
        found = self.stems[folder].get(stem, [])
        if not found and self.files[folder]:
            self._add(
                "missing", f"{self.name}/{folder}/{stem}{suffix}", f"is not there; {composite} needs it", error=True
            )
        if len(found) > 1:
            message = f"is one of {', '.join(found)}; which is used is left to chance"
            self._add("ambiguous", f"{self.name}/{folder}/{found[0]}", message, error=True)
        return found[0] if found else None

    def _compare_splits(self) -> None:
        for name in sorted(set(self.splits["train"].names) & set(self.splits["test"].names)):
            path = f"{self.name}/composite_images/{name}"
            self._add("in-both-lists", path, "is named for training and for testing", error=True)
        train, test = ({triple.real for triple in self.triples[split] if triple.real} for split in SPLITS)
        for name in sorted(train & test):
            path = f"{self.name}/real_images/{name}"
            self._add("photo-in-both", path, "has composites in training and in testing", error=True)
        for split, found in self.splits.items():
            published = _published(self.name, split)
            if found.source and published not in (None, len(found.names)):
                message = f"names {_count(len(found.names), 'composite')} of {self.name}; iHarmony4 has {published}"
                self._add("count", found.source, message, error=False)

    def _find_orphans(self) -> None:
        for folder in FOLDERS if self.listed else ():
            for name in self.files[folder] - self._used(folder):
                self._add("orphan", f"{self.name}/{folder}/{name}", "no list needs it", error=False)

    def _used(self, folder: str) -> set[str | None]:
        index = FOLDERS.index(folder)
        used = {triple[index] for triples in self.triples.values() for triple in triples}
        doubles = {name for names in self.stems[folder].values() if used.intersection(names) for name in names}
        return used | doubles if index else used


def _check_common_lists(root: Path) -> Iterator[Finding]:
    for split in SPLITS:
        path = root / f"IHD_{split}.txt"
        if not path.is_file():
            continue
        try:
            folders = Counter(folder for folder, _ in _entries(path))
        except UserError as error:
            yield Finding("list-unreadable", path.name, _after(error, path), True)
            continue
        for folder, count in folders.items():
            if not (root / folder / "composite_images").is_dir() or not folder:
                where = f"of {folder}, which the root does not hold" if folder else "without a subset in front"
                yield Finding("list-strangers", path.name, f"{_count(count, 'line')} {where}; not used", False)


def _check_halves(root: Path) -> Iterator[Finding]:
    """Folders that would be subsets, had they composites; training passes them over in silence."""
    for folder in sorted({path.parent for part in FOLDERS[1:] for path in root.glob(f"*/{part}")}):
        if not (folder / FOLDERS[0]).is_dir():
            yield Finding(
                "folder-missing", f"{folder.name}/{FOLDERS[0]}", "is not there, so the subset is left out", True
            )


def _check_absent_lists(subsets: Sequence[_Subset]) -> Iterator[Finding]:
    """A list that is missing stops training; but a root that has only one of the splits, and no other file, may be meant so."""
    for split in SPLITS:
        present = any(subset.splits[split].source for subset in subsets)
        for subset in subsets:
            if subset.splits[split].source:
                continue
            named = {name for found in subset.splits.values() for name in found.names}
            unlisted = len(subset.files["composite_images"] - named)
            own = f"{subset.name}/{subset.name}_{split}.txt"
            message = f"is not there, nor IHD_{split}.txt; {_count(unlisted, 'composite')} in no list"
            yield Finding("list-missing", own, message, present or not subset.listed or unlisted > 0)


def _check_files(facts: dict[_Task, _Facts]) -> Iterator[Finding]:
    """What is wrong with single files; grey masks are counted for each subset, for there may be thousands."""
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
        message = f"{count} of {masks[subset]} hold values between 0 and 255; foreground is what reaches {HALF}"
        yield Finding("mask-grey", f"{subset}/masks", message, False)


def _check_sizes(subsets: Sequence[_Subset], facts: dict[_Task, _Facts]) -> Iterator[Finding]:
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


def _check_copies(subsets: Sequence[_Subset], facts: dict[_Task, _Facts]) -> Iterator[Finding]:
    """Real pictures of both splits that have the same content under different names."""
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


def _read_all(root: Path, tasks: Sequence[_Task], size: int, workers: int, progress: bool) -> list[_Facts]:
    read = partial(_read, str(root), size)
    bar = partial(tqdm, desc="checking", unit="file", total=len(tasks), disable=not progress, leave=False)
    with process_pool(workers, chunk=_CHUNK) as each:
        return list(bar(each(read, tasks)))


def _read(root: str, size: int, task: _Task) -> _Facts:
    """Reads one file; whatever goes wrong with it is a note, so that the others are read too."""
    path = Path(root, task.path)
    try:
        image = open_mask(path) if task.folder == "masks" else open_rgb(path)
    except Exception as error:  # damaged files make decoders raise whatever they like
        return _Facts(notes=((_kind_of_refusal(path, task.folder == "masks"), _after(error, path)),))
    if task.folder == "masks":
        return _Facts(image.size, notes=tuple(_look_at_mask(image, size)))
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if task.folder == "real_images" else ""
    colourless = (("greyscale", "has no colour"),) if _is_grey(np.asarray(image)) else ()
    return _Facts(image.size, digest, colourless)


def _look_at_mask(mask: Image.Image, size: int) -> Iterator[tuple[str, str]]:
    histogram = np.array(mask.histogram())
    if not histogram[HALF:].any():
        yield "mask-empty", f"has no foreground, that is, no value of {HALF} or more"
    elif not has_foreground(mask, whole(mask), size):
        pixels = _count(int(histogram[HALF:].sum()), "pixel")
        yield "mask-vanishes", f"has no foreground left at {size} x {size}, of {pixels} at its own size"
    if histogram[1:255].any():
        yield "mask-grey", ""


def _is_grey(picture: np.ndarray) -> bool:
    """Whether all channels agree; a sparse look first, for almost all pictures have colour."""
    return all(bool((part[..., :1] == part[..., 1:]).all()) for part in (picture[::16, ::16], picture))


def _kind_of_refusal(path: Path, is_mask: bool) -> str:
    """Whether a file that was refused is damaged, of an unsuitable mode, or a mask of 0 and 1."""
    try:
        with Image.open(path) as image:
            image.load()
            plain = image.mode not in DEEP_MODES and "transparency" not in image.info and "A" not in image.getbands()
            return "mask-0-1" if is_mask and plain and image.convert("L").getextrema()[1] == 1 else "mode"
    except Exception:  # as above
        return "unreadable"


def _entries(path: Path) -> list[tuple[str, str]]:
    """The (first folder, file name) of each line of a list."""
    paths = [PurePosixPath(line) for line in read_lines(path)]
    return [(path.parts[0] if len(path.parts) > 1 else "", path.name) for path in paths]


def _entries_or_none(path: Path) -> list[tuple[str, str]]:
    try:
        return _entries(path) if path.is_file() else []
    except UserError:
        return []


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        stems[Path(name).stem].append(name)
    return stems


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _published(subset: str, split: str) -> int | None:
    return PUBLISHED.get(subset, {}).get(split)


def _of_published(subset: str, name: str, split: Split) -> str:
    published = _published(subset, name)
    return f"{len(split.names) if split.source else '-'}{'' if published is None else f' of {published}'}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _after(error: Exception, path: Path) -> str:
    """An error's message without the path in front, which is told beside it."""
    return str(error).removeprefix(f"{path}: ") or type(error).__name__


def _write(path: Path, text: str) -> Path:
    try:
        write_whole(path, text, durable=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place, or make that one writable"
        ) from None
    return path
