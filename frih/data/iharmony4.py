"""iHarmony4 on disk: which composites there are, with their masks and real images.

::

    <root>/<subset>/{composite_images,masks,real_images}/
    <root>/<subset>/<subset>_{train,test}.txt     one composite's file name a line
    <root>/IHD_{train,test}.txt                   lines such as HAdobe5k/composite_images/a0001_1_1.jpg

Either kind of list is read. The composite ``X_M_K.jpg`` has the mask ``X_M.png`` and the real image ``X.jpg``. Subsets may have
any names.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frih.common.errors import UserError, did_you_mean
from frih.common.files import by_stem
from frih.data.images import is_image_name

COMPOSITES = {
    "HCOCO": {"train": 38545, "test": 4283},
    "HAdobe5k": {"train": 19437, "test": 2160},
    "HFlickr": {"train": 7449, "test": 828},
    "Hday2night": {"train": 311, "test": 133},
}
"""The published number of iHarmony4's composites, by subset and split."""
SUBSETS = tuple(COMPOSITES)
"""The subsets of iHarmony4, in the order of the paper's tables. Others come after them, by name."""
FOLDERS = ("composite_images", "masks", "real_images")
"""The folders of a subset."""
SPLITS = ("train", "test")
PREPARED, PREPARED_FILES = "prepared.json", "prepared_files.jsonl"
"""Written by :mod:`frih.tools.datasets.prepare`: how a finished copy was made, and a line for each of its files."""


class Item(NamedTuple):
    """One composite of a dataset, by the names of its files."""

    root: str
    subset: str
    composite_name: str
    mask_name: str
    real_name: str

    @property
    def name(self) -> str:
        """Sub-dataset and composite, for messages."""
        return f"{self.subset}/{self.composite_name}"

    @property
    def composite(self) -> Path:
        """The composite's path."""
        return Path(self.root, self.subset, "composite_images", self.composite_name)

    @property
    def mask(self) -> Path:
        """The mask's path."""
        return Path(self.root, self.subset, "masks", self.mask_name)

    @property
    def real(self) -> Path:
        """The real image's path."""
        return Path(self.root, self.subset, "real_images", self.real_name)


class Listing(NamedTuple):
    """The composites of one split, and the list files that named them."""

    items: list[Item]
    lists: list[Path]
    unused: tuple[str, ...] = ()
    """Remarks for people: lines that are not used, subsets without a line."""

    def describe(self) -> str:
        """A sentence for people: how many composites of which subsets, which lists, and how the copy was prepared.

        Raises:
            UserError: ``prepared.json`` cannot be read.
        """
        counts = Counter(item.subset for item in self.items)
        parts = ", ".join(f"{subset} {count}" for subset, count in counts.items())
        lists = ", ".join(path.name for path in self.lists)
        root = self.items[0].root
        prepared = describe_preparation(Path(root))
        remarks = "".join(f"; {remark}" for remark in (prepared, *self.unused) if remark)
        return f"{len(self.items)} composites of {root} ({parts}), listed by {lists}{remarks}"


def read_split(root: str | Path | None, split: str, subsets: Sequence[str] | None = None) -> Listing:
    """Lists a split of a dataset, subset by subset, in the order of its list files.

    Args:
        root: folder that holds the subsets, ``data.root``.
        split: ``"train"`` or ``"test"``.
        subsets: names of the subsets to take; by default all.

    Raises:
        UserError: no dataset at the root, an unknown subset, a missing list, or a list that names missing or doubled files.
    """
    if root is None:
        raise UserError("data.root: not set; give the folder of a dataset: data.root=/datasets/iHarmony4")
    root = Path(root)
    if (root / PREPARED_FILES).exists() and not (root / PREPARED).exists():
        raise UserError(f"{root}: this copy is not finished; call scripts/prepare.py again, as it was called before")
    items: list[Item] = []
    lists: list[Path] = []
    unused: list[str] = []
    for subset in choose_subsets(root, subsets):
        names, source = _read_list(root, subset, split)
        found, faults = match_files(root, subset, names)
        if faults:
            more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
            raise UserError(f"{source}: {'; '.join(faults[:3])}{more}; restore the files or take the lines out")
        items += found
        if not found:
            unused.append(f"{source.name} names none of {subset}")
        if source not in lists:
            lists.append(source)
    if not items:
        raise UserError(f"{', '.join(map(str, lists))}: names no composite of the {split} split")
    strangers = _strangers(root, split) if not subsets and root / f"IHD_{split}.txt" in lists else {}
    unused += [f"{count} lines for {name}, which is not there, are not used" for name, count in strangers.items()]
    return Listing(items, lists, tuple(unused))


def split_validation(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Divides training items into (training, validation) by real image, so that no photo is in both.

    In each subset ``fraction`` of the real images go to validation: rounded, but at least one of two. Subsets may share photos,
    as those of ``make_composites.py`` do. A photo that is held out in one subset is held out in all. The photos are chosen by a
    hash of their names, so subsets mostly choose the same ones.
    """
    held_out: set[str] = set()
    for subset in sorted({item.subset for item in items}):
        reals = {item.real_name for item in items if item.subset == subset}
        count = 0 if fraction == 0 or len(reals) < 2 else max(1, round(fraction * len(reals)))
        held_out |= set(sorted(reals, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[:count])
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        parts[item.real_name in held_out].append(item)
    return parts


def describe_preparation(root: Path) -> str:
    """How a data set was prepared, in a few words; an empty text if it was not.

    Raises:
        UserError: ``prepared.json`` cannot be read.
    """
    path = root / PREPARED
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["summary"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); call scripts/prepare.py again") from None


def choose_subsets(root: Path, wanted: Sequence[str] | None) -> list[str]:
    """The subsets of a root: the wanted ones, or all.

    Raises:
        UserError: the root is no data set, or lacks a wanted subset.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {root} is not a folder; give the folder that holds HCOCO, HAdobe5k, ...")
    if (root / "composite_images").is_dir():
        raise UserError(f"data.root: {root} is one subset; give the folder above it and data.subsets=[{root.name}]")
    folders = {folder.parent.name for folder in root.glob("*/composite_images") if folder.is_dir()}
    found = [*(name for name in SUBSETS if name in folders), *sorted(folders.difference(SUBSETS))]
    if not found:
        raise UserError(f"data.root: {root} holds no subset, that is, no folder with composite_images/ inside")
    doubled = [subset for subset, count in Counter(wanted or ()).items() if count > 1]
    if doubled:
        raise UserError(f"data.subsets: {doubled[0]} is given twice; its images would count twice")
    for subset in wanted or ():
        if subset not in found:
            hint = did_you_mean(subset, found)
            raise UserError(f"data.subsets: {root} has no subset {subset!r}{hint} (it holds {', '.join(found)})")
    return list(wanted) if wanted else found


def find_list(root: Path, subset: str, split: str) -> tuple[list[str], Path] | None:
    """File names of the subset's composites, and their list: the subset's own, or else that of the whole data set.

    Raises:
        UserError: it cannot be read.
    """
    own, common = root / subset / f"{subset}_{split}.txt", root / f"IHD_{split}.txt"
    if own.is_file():
        return [PurePosixPath(line).name for line in read_lines(own)], own
    if common.is_file():
        paths = [PurePosixPath(line) for line in read_lines(common)]
        return [path.name for path in paths if path.parts[:1] == (subset,)], common
    return None


def _strangers(root: Path, split: str) -> dict[str, int]:
    """Subsets that the root does not hold, with the number of their lines in the common list."""
    subsets = Counter(line.partition("/")[0] for line in read_lines(root / f"IHD_{split}.txt"))
    held = choose_subsets(root, None)
    return {name: count for name, count in subsets.items() if name not in held}


def _read_list(root: Path, subset: str, split: str) -> tuple[list[str], Path]:
    found = find_list(root, subset, split)
    if not found:
        own, common = root / subset / f"{subset}_{split}.txt", root / f"IHD_{split}.txt"
        raise UserError(f"{own}: no such list, nor {common}; either names the {split} composites, one a line")
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a list file that are not empty.

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of file names ({error})") from None
    return [line.strip().replace("\\", "/") for line in text.splitlines() if line.strip()]


def match_files(root: Path, subset: str, names: Sequence[str]) -> tuple[list[Item], list[str]]:
    """Finds the files of listed composites, and the faults of the list, as "masks/a_1.png of a_1_1.jpg is missing".

    It reads each folder once instead of asking for each file.

    Raises:
        UserError: a folder is missing, or a name fits two files.
    """
    composites = _names(root / subset / "composite_images")
    masks = _by_stem(root / subset / "masks")
    reals = _by_stem(root / subset / "real_images")
    items, faults, seen = [], [], set()
    for name in names:
        stem = Path(name).stem
        photo_and_mask = stem.rpartition("_")[0]
        photo = photo_and_mask.rpartition("_")[0]
        if not photo:
            faults.append(f"{name} is not named X_M_K.jpg (photo, mask, variant)")
        elif name in seen:
            faults.append(f"{name} is named twice")
        elif name not in composites:
            faults.append(f"composite_images/{name} is missing")
        elif photo_and_mask not in masks:
            faults.append(f"masks/{photo_and_mask}.png of {name} is missing")
        elif photo not in reals:
            faults.append(f"real_images/{photo}.jpg of {name} is missing")
        else:
            items.append(Item(str(root), subset, name, masks[photo_and_mask], reals[photo]))
        seen.add(name)
    return items, faults


def _by_stem(folder: Path) -> dict[str, str]:
    """Images of a folder by name without suffix.

    Raises:
        UserError: two images have the same.
    """
    stems = by_stem(name for name in _names(folder) if is_image_name(name))
    for name, *others in stems.values():
        if others:
            raise UserError(f"{folder / name} and {others[0]}: either could be meant; keep one")
    return {stem: names[0] for stem, names in stems.items()}


def _names(folder: Path) -> set[str]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; a subset holds composite_images/, masks/ and real_images/")
    return {path.name for path in folder.iterdir()}
