"""A subset's folders and lists, and their faults that show without reading an image."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frih.common.errors import UserError
from frih.common.files import is_hidden
from frih.common.wording import counted
from frih.data.folders import Folder, list_folder
from frih.data.iharmony4 import FOLDERS, SPLITS, parts_of
from frih.data.images import is_image_name
from frih.data.lists import read_entries, read_lines
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


class Triple(NamedTuple):
    """The files of one composite; None for a missing one."""

    composite: Task | None
    mask: Task | None
    real: Task | None
    photo: str
    """The name of its photo."""

    def tasks(self) -> list[Task]:
        """The files that are there."""
        return [task for task in self[:3] if task]


class Group(NamedTuple):
    """Files that are read together: a photo's real image, masks and composites."""

    tasks: list[Task]
    triples: list[Triple]


class CheckedSubset:
    """A subset's folders and lists, with the findings that need no image."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.findings: list[Finding] = []
        self.folders = {folder: Folder(self._list_folder(folder)) for folder in FOLDERS}
        self.files = {
            folder: {one for one in found.names if not is_hidden(one)} for folder, found in self.folders.items()
        }
        self.splits = {split: self._read_list(split) for split in SPLITS}
        self.doubles: set[Task] = set()
        self.triples = {split: self._match(found.names, found.source) for split, found in self.splits.items()}
        self.listed = any(found.source for found in self.splits.values())
        if not self.listed:
            self.triples["unlisted"] = self._match(sorted(filter(is_image_name, self.files["composite_images"])), None)
        self.used = {task for triples in self.triples.values() for triple in triples for task in triple.tasks()}
        self._compare_splits()
        needed = {(task.folder, task.name) for task in self.used | self.doubles}
        self.unused = [
            Task(name, folder, file, used=False)
            for folder in FOLDERS
            for file in sorted(self.files[folder])
            if (folder, file) not in needed
        ]
        for task in self.unused if self.listed else ():
            self._remark("orphan", task.path, "no list needs it")

    def groups(self) -> list[Group]:
        """The files of each photo, and by themselves the images that no list needs."""
        photos: dict[str, list[Triple]] = defaultdict(list)
        for triples in self.triples.values():
            for triple in triples:
                photos[triple.photo].append(triple)
        groups = [
            Group(list(dict.fromkeys(task for triple in triples for task in triple.tasks())), triples)
            for _, triples in sorted(photos.items())
        ]
        alone = [*sorted(self.doubles - self.used), *(task for task in self.unused if is_image_name(task.name))]
        return groups + [Group([task], []) for task in alone]

    def _error(self, kind: str, path: str, message: str) -> None:
        self.findings.append(Finding(kind, path, message, error=True))

    def _remark(self, kind: str, path: str, message: str) -> None:
        self.findings.append(Finding(kind, path, message, error=False))

    def _list_folder(self, folder: str) -> set[str]:
        path = self.root / self.name / folder
        try:
            names = list_folder(path)
            fault = "" if names else "is empty"
        except UserError as error:
            names, fault = set(), without_path(error, path)
        if fault:
            self._error("folder-missing", f"{self.name}/{folder}", fault)
        return names

    def _read_list(self, split: str) -> Split:
        """The list that training would use; checks its lines."""
        own, common = self.root / self.name / f"{self.name}_{split}.txt", self.root / f"IHD_{split}.txt"
        shared = [name for folder, name in _entries_or_none(common, self.name) if folder == self.name]
        if not own.is_file():
            return self._check_names(shared, common.name) if common.is_file() else Split([], None)
        path = f"{self.name}/{own.name}"
        try:
            names = [PurePosixPath(line).name for line in read_lines(own)]
        except UserError as error:
            self._error("list-unreadable", path, without_path(error, own))
            names = []
        if shared and set(shared) != set(names):
            differing = counted(len(set(shared) ^ set(names)), "composite")
            self._remark("list-differs", path, f"is used, but differs from {common.name} by {differing}")
        return self._check_names(names, path)

    def _check_names(self, names: list[str], source: str) -> Split:
        """The names of the files that are there, in the form that the folder has; checks that each is named once."""
        names = [self.folders["composite_images"].find(name) or name for name in names]
        for name, count in Counter(names).items():
            if count > 1:
                self._error("twice", source, f"names {name} {count} times")
        return Split(list(dict.fromkeys(names)), source)

    def _match(self, names: Iterable[str], source: str | None) -> list[Triple]:
        """The files of each composite, by the rule of :func:`frih.data.iharmony4.match_files`."""
        triples = []
        for name in names:
            photo, photo_and_mask = parts_of(name)
            if not photo:
                where = source or f"{self.name}/composite_images"
                self._error("name", where, f"{name!r} is not named X_M_K.jpg (photo, mask, variant)")
                continue
            composite = self._find_composite(name)
            mask = self._find("masks", photo_and_mask, ".png", name)
            triples.append(Triple(composite, mask, self._find("real_images", photo, ".jpg", name), photo))
        return triples

    def _find_composite(self, name: str) -> Task | None:
        folder = self.folders["composite_images"]
        if name in folder.names:
            return self._task("composite_images", name)
        if folder.names:  # otherwise the folder is missing or empty, which is one finding already
            path = f"{self.name}/composite_images/{name}"
            self._error("missing", path, f"is named by a list, but is not there{folder.hint(Path(name).stem)}")
        return None

    def _find(self, folder: str, stem: str, suffix: str, composite: str) -> Task | None:
        found = self.folders[folder].of_stem(stem)
        if not found and self.folders[folder].names:
            hint = self.folders[folder].hint(stem, Path(composite).stem)
            self._error("missing", f"{self.name}/{folder}/{stem}{suffix}", f"is not there{hint}; {composite} needs it")
        if len(found) > 1:
            message = f"is one of {', '.join(found)}; keep one, since any of them may be used"
            self._error("ambiguous", f"{self.name}/{folder}/{found[0]}", message)
            self.doubles.update(self._task(folder, name) for name in found)
        return self._task(folder, found[0]) if found else None

    def _task(self, folder: str, name: str) -> Task:
        return Task(self.name, folder, name, used=True)

    def _compare_splits(self) -> None:
        for name in sorted(set(self.splits["train"].names) & set(self.splits["test"].names)):
            path = f"{self.name}/composite_images/{name}"
            self._error("in-both-lists", path, "is named for training and for testing")
        train, test = ({triple.real for triple in self.triples[split] if triple.real} for split in SPLITS)
        for real in sorted(train & test):
            self._error("photo-in-both", real.path, "has composites in training and in testing")
        for split, found in self.splits.items():
            expected = published(self.name, split)
            if found.source and expected not in (None, len(found.names)):
                message = f"names {counted(len(found.names), 'composite')} of {self.name}; iHarmony4 has {expected}"
                self._remark("count", found.source, message)


def without_path(error: Exception, path: Path) -> str:
    """An error's message without the path in front, because a finding has the path already."""
    return str(error).removeprefix(f"{path}: ") or type(error).__name__


def _entries_or_none(path: Path, subset: str) -> list[tuple[str, str]]:
    try:
        return read_entries(path, [subset]) if path.is_file() else []
    except UserError:
        return []
