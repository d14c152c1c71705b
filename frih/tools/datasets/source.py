"""The files that a data set's lists need, and the lists for a copy of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from frih.common.errors import UserError
from frih.data.folders import Folder
from frih.data.iharmony4 import FOLDERS, SPLITS, Item, find_list, match_files
from frih.data.lists import parse_line, read_lines, why_nothing
from frih.tools.journal import Entry


class Source:
    """The files that a data set's lists need.

    Raises:
        UserError: a subset has no list, or its lists name nothing or cannot be used.
    """

    def __init__(self, root: Path, subsets: Sequence[str]) -> None:
        self.root, self.subsets = root, subsets
        self.items: list[Item] = []
        self.faults: list[str] = []
        self._empty: list[str] = []
        for subset in subsets:
            self._follow(subset)
        if not self.items and not self.faults:
            raise UserError(f"{root}: its lists name no composite ({'; '.join(self._empty)}); restore or correct them")
        self.wanted = dict.fromkeys(sorted(name for item in self.items for name in names(item)))
        """Paths of the files below the root, each once."""

    def _follow(self, subset: str) -> None:
        found = [found for split in SPLITS if (found := find_list(self.root, subset, split))]
        if not found:
            raise UserError(
                f"{self.root / subset}: has no list, {subset}_train.txt or {subset}_test.txt, nor has {self.root} one "
                "(IHD_train.txt, IHD_test.txt); scripts/check_data.py --write-lists writes lists that can be made from others"
            )
        stems: dict[str, str] = {}
        for listed, path in found:
            items, faults = match_files(self.root, subset, listed)
            self.items += items
            if not listed:
                self._empty.append(f"{path} {why_nothing(path, subset)}")
            self.faults += [f"{path}: {subset}/{fault}" for fault in faults]
            for name in listed:
                other = stems.setdefault(Path(name).stem, name)
                if other != name:
                    raise UserError(f"{path}: {name} and {other} differ in their suffix alone; rename one")

    def lists(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """The lists for a copy with these entries: byte for byte the same, unless suffixes of their composites have changed."""
        renamed = {entry["source"]: path for entry in entries for path in entry["files"] if path != entry["source"]}
        sources = Folder(renamed)
        lists = {}
        for split in SPLITS:
            own = (Path(subset, f"{subset}_{split}.txt") for subset in self.subsets)
            for path in (Path(f"IHD_{split}.txt"), *own):
                if (self.root / path).is_file():
                    lines = read_lines(self.root / path)
                    new = [self._rename(line, path.parent.name, renamed, sources) for line in lines]
                    content = "".join(f"{line}\n" for line in new).encode()
                    lists[path.as_posix()] = (self.root / path).read_bytes() if new == lines else content
        return lists

    def _rename(self, line: str, folder: str, renamed: dict[str, str], sources: Folder) -> str:
        subset, name = parse_line(line, self.subsets)
        source = sources.find(f"{folder or subset}/composite_images/{name}")
        return line.removesuffix(name) + PurePosixPath(renamed[source]).name if source else line

    def mis_sized(self, done: dict[str, Entry]) -> list[str]:
        """Names masks and real images that do not have their composite's size."""
        faults = []
        for item in self.items:
            composite, *others = names(item)
            for path, name in zip((item.mask, item.real), others, strict=True):
                ours, theirs = (tuple(done[key]["pixels"]) if key in done else None for key in (composite, name))
                if ours and theirs and ours != theirs:
                    shape = "is {} x {} pixels but {} is {} x {}".format(*theirs, item.composite, *ours)
                    faults.append(f"{path}: {shape}; they must be of one size")
        return faults


def names(item: Item) -> list[str]:
    """Paths of composite, mask and real image below the root."""
    files = (item.composite_name, item.mask_name, item.real_name)
    return [f"{item.subset}/{folder}/{name}" for folder, name in zip(FOLDERS, files, strict=True)]
