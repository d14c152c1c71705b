"""A subset's folders and lists, and their faults that show without reading an image."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from frih.common.errors import UserError
from frih.common.files import by_stem
from frih.common.wording import counted
from frih.data.iharmony4 import FOLDERS, SPLITS, read_lines
from frih.tools.datasets.check_report import Finding, Split, published


class Task(NamedTuple):
    """A file to be read."""

    subset: str
    folder: str
    name: str
    used: bool
    """Whether a list needs it."""

    @property
    def path(self) -> str:
        """The path below the root."""
        return f"{self.subset}/{self.folder}/{self.name}"


class _Triple(NamedTuple):
    """The files of one composite; None for a missing one."""

    composite: str | None
    mask: str | None
    real: str | None


class CheckedSubset:
    """A subset's folders and lists, with the findings that need no image."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.findings: list[Finding] = []
        self.files = {folder: self._list_folder(folder) for folder in FOLDERS}
        self.stems = {folder: by_stem(files) for folder, files in self.files.items()}
        self.splits = {split: self._read_list(split) for split in SPLITS}
        self.triples = {split: self._match(found.names, found.source) for split, found in self.splits.items()}
        self.listed = any(found.source for found in self.splits.values())
        if not self.listed:
            self.triples["unlisted"] = self._match(sorted(self.files["composite_images"]), None)
        self._compare_splits()
        for folder in FOLDERS if self.listed else ():
            for file in self.files[folder] - self._used(folder):
                self._remark("orphan", f"{name}/{folder}/{file}", "no list needs it")

    def tasks(self) -> list[Task]:
        """Every file of the subset, without unused ones that do not look like images."""
        suffixes = Image.registered_extensions()
        tasks = []
        for folder in FOLDERS:
            used = self._used(folder)
            chosen = (name for name in sorted(self.files[folder]) if name in used or _suffix(name) in suffixes)
            tasks += [Task(self.name, folder, name, name in used) for name in chosen]
        return tasks

    def _error(self, kind: str, path: str, message: str) -> None:
        self.findings.append(Finding(kind, path, message, error=True))

    def _remark(self, kind: str, path: str, message: str) -> None:
        self.findings.append(Finding(kind, path, message, error=False))

    def _list_folder(self, folder: str) -> set[str]:
        try:
            names = {path.name for path in (self.root / self.name / folder).iterdir()}
            fault = "" if names else "is empty"
        except OSError as error:
            names, fault = set(), f"cannot be listed ({error.strerror})"
        if fault:
            self._error("folder-missing", f"{self.name}/{folder}", fault)
        return names

    def _read_list(self, split: str) -> Split:
        """The list that training would use; checks its lines."""
        own, common = self.root / self.name / f"{self.name}_{split}.txt", self.root / f"IHD_{split}.txt"
        shared = [name for folder, name in _entries_or_none(common) if folder == self.name]
        if not own.is_file():
            return self._check_names(shared, split, common.name) if common.is_file() else Split([], None)
        path = f"{self.name}/{own.name}"
        try:
            names = [name for _, name in list_entries(own)]
        except UserError as error:
            self._error("list-unreadable", path, without_path(error, own))
            names = []
        if shared and set(shared) != set(names):
            differing = counted(len(set(shared) ^ set(names)), "composite")
            self._remark("list-differs", path, f"is used, but differs from {common.name} by {differing}")
        return self._check_names(names, split, path)

    def _check_names(self, names: list[str], split: str, source: str) -> Split:
        if not names:
            self._remark("list-empty", source, f"names no composite of {self.name} for the {split} split")
        for name, count in Counter(names).items():
            if count > 1:
                self._error("twice", source, f"names {name} {count} times")
        return Split(list(dict.fromkeys(names)), source)

    def _match(self, names: Iterable[str], source: str | None) -> list[_Triple]:
        """The files of each composite, by the rule of :func:`frih.data.iharmony4.read_split`."""
        triples = []
        for name in names:
            photo_and_mask = Path(name).stem.rpartition("_")[0]
            photo = photo_and_mask.rpartition("_")[0]
            if not photo:
                where = source or f"{self.name}/composite_images"
                self._error("name", where, f"{name!r} is not named X_M_K.jpg (photo, mask, variant)")
                continue
            composite = self._find_composite(name)
            mask = self._find("masks", photo_and_mask, ".png", name)
            triples.append(_Triple(composite, mask, self._find("real_images", photo, ".jpg", name)))
        return triples

    def _find_composite(self, name: str) -> str | None:
        if name in self.files["composite_images"]:
            return name
        if self.files["composite_images"]:  # otherwise the folder is missing or empty, which is one finding already
            others = self.stems["composite_images"].get(Path(name).stem)
            hint = f"; the folder holds {', '.join(others)}" if others else ""
            path = f"{self.name}/composite_images/{name}"
            self._error("missing", path, f"is named by a list, but is not there{hint}")
        return None

    def _find(self, folder: str, stem: str, suffix: str, composite: str) -> str | None:
        found = self.stems[folder].get(stem, [])
        if not found and self.files[folder]:
            self._error("missing", f"{self.name}/{folder}/{stem}{suffix}", f"is not there; {composite} needs it")
        if len(found) > 1:
            message = f"is one of {', '.join(found)}; keep one, since any of them may be used"
            self._error("ambiguous", f"{self.name}/{folder}/{found[0]}", message)
        return found[0] if found else None

    def _compare_splits(self) -> None:
        for name in sorted(set(self.splits["train"].names) & set(self.splits["test"].names)):
            path = f"{self.name}/composite_images/{name}"
            self._error("in-both-lists", path, "is named for training and for testing")
        train, test = ({triple.real for triple in self.triples[split] if triple.real} for split in SPLITS)
        for name in sorted(train & test):
            path = f"{self.name}/real_images/{name}"
            self._error("photo-in-both", path, "has composites in training and in testing")
        for split, found in self.splits.items():
            expected = published(self.name, split)
            if found.source and expected not in (None, len(found.names)):
                message = f"names {counted(len(found.names), 'composite')} of {self.name}; iHarmony4 has {expected}"
                self._remark("count", found.source, message)

    def _used(self, folder: str) -> set[str | None]:
        index = FOLDERS.index(folder)
        used = {triple[index] for triples in self.triples.values() for triple in triples}
        doubles = {name for names in self.stems[folder].values() if used.intersection(names) for name in names}
        return used | doubles if index else used


def list_entries(path: Path) -> list[tuple[str, str]]:
    """The (first folder, file name) of each line of a list."""
    paths = [PurePosixPath(line) for line in read_lines(path)]
    return [(path.parts[0] if len(path.parts) > 1 else "", path.name) for path in paths]


def without_path(error: Exception, path: Path) -> str:
    """An error's message without the path in front, because a finding has the path already."""
    return str(error).removeprefix(f"{path}: ") or type(error).__name__


def _entries_or_none(path: Path) -> list[tuple[str, str]]:
    try:
        return list_entries(path) if path.is_file() else []
    except UserError:
        return []


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
