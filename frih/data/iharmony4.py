"""iHarmony4 on disk: which composites there are, with their masks and real images.

::

    <root>/<subset>/{composite_images,masks,real_images}/
    <root>/<subset>/submasks/                     only for submasks.method=given
    <root>/<subset>/<subset>_{train,test}.txt     one composite's file name a line
    <root>/IHD_{train,test}.txt                   lines such as HAdobe5k/composite_images/a0001_1_1.jpg

Either kind of list is read. The composite ``X_M_K.jpg`` has the mask ``X_M.png`` and the real image ``X.jpg``; these two may
have any suffix. Subsets may have any names.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from frih.common.errors import UserError, did_you_mean
from frih.common.files import is_hidden
from frih.data.folders import Folder, is_broken_link, list_folder
from frih.data.lists import read_entries, read_lines, why_nothing

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
GIVEN = "submasks"
"""The folder of a subset that may hold submasks, for ``submasks.method=given``."""
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

    @property
    def given(self) -> Path:
        """The path of the composite's given submasks, which need not be there."""
        return Path(self.root, self.subset, GIVEN, submask_name(self.composite_name))


def submask_name(composite_name: str) -> str:
    """The file name of a composite's given submasks."""
    return f"{Path(composite_name).stem}.png"


class Listing(NamedTuple):
    """The composites of one split, and the list files that named them."""

    items: list[Item]
    lists: list[Path]
    unused: tuple[str, ...] = ()
    """Remarks for people: lines that are not used, subsets without a line."""
    held_out: list[Item] | None = None
    """The composites of ``validation.list``; see :mod:`frih.data.held_out`."""

    def describe(self, *, lists: bool = True) -> str:
        """A sentence for people: how many composites of which subsets, which lists (or not), and how the copy was prepared.

        Raises:
            UserError: ``prepared.json`` cannot be read.
        """
        counts = Counter(item.subset for item in self.items)
        parts = ", ".join(f"{subset} {count}" for subset, count in counts.items())
        listed = f", listed by {', '.join(path.name for path in self.lists)}" if lists else ""
        root = self.items[0].root
        prepared = describe_preparation(Path(root))
        remarks = "".join(f"; {remark}" for remark in (prepared, *self.unused) if remark)
        return f"{len(self.items)} composites of {root} ({parts}){listed}{remarks}"


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
    sources: dict[str, Path] = {}
    empty: list[str] = []
    for subset in choose_subsets(root, subsets):
        names, source = _read_list(root, subset, split)
        found, faults = match_files(root, subset, names)
        if faults:
            more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
            raise UserError(f"{source}: {'; '.join(faults[:3])}{more}; restore the files or correct the lines")
        items += found
        sources[subset] = source
        if not found:
            empty.append(subset)
    if empty and (subsets or not items):
        reasons = (f"{sources[subset]}: {why_nothing(sources[subset], subset)}" for subset in empty)
        raise UserError(f"{'; '.join(reasons)}; it must name those of the {split} split, one a line")
    lists = list(dict.fromkeys(sources.values()))
    unused = [f"{sources[subset].name} names none of {subset}" for subset in empty]
    if not subsets:
        unused += [f"{name} has no composite_images/ and is not used" for name in halves(root)]
        common = root / f"IHD_{split}.txt"
        strangers = _strangers(common, sources) if common in lists else {}
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
        held_out |= set(in_drawn_order(reals, str(seed))[:count])
    parts: tuple[list[Item], list[Item]] = ([], [])
    for item in items:
        parts[item.real_name in held_out].append(item)
    return parts


def in_drawn_order(names: Iterable[str], draw: str) -> list[str]:
    """Names in an order like a random one, by a hash of each: names that come or go leave the others' order as it was."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{draw}/{name}".encode()).digest())


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
        UserError: the root is no data set or cannot be read, lacks a wanted subset, or holds a link to nothing where a subset
            should be.
    """
    try:
        if not root.is_dir():
            why = "is a link to nothing" if is_broken_link(root) else "is not a folder"
            raise UserError(f"data.root: {root} {why}; give the folder that holds HCOCO, HAdobe5k, ...")
        if (root / "composite_images").is_dir():
            raise UserError(f"data.root: {root} is one subset; give the folder above it and data.subsets=[{root.name}]")
        folders = {folder.name for folder in root.iterdir() if _is_subset(folder, wanted)}
    except OSError as error:
        place = error.filename or root
        raise UserError(f"data.root: {place} cannot be read ({error.strerror}); give the right to read it") from None
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


def halves(root: Path) -> list[str]:
    """Folders that would be subsets if they had composites."""
    folders = {path.parent for part in FOLDERS[1:] for path in root.glob(f"*/{part}")}
    return sorted(folder.name for folder in folders if not (folder / FOLDERS[0]).is_dir())


def find_list(root: Path, subset: str, split: str) -> tuple[list[str], Path] | None:
    """File names of the subset's composites, and their list: the subset's own, or else that of the whole data set.

    Raises:
        UserError: it cannot be read.
    """
    own, common = root / subset / f"{subset}_{split}.txt", root / f"IHD_{split}.txt"
    if own.is_file():
        return [PurePosixPath(line).name for line in read_lines(own)], own
    if common.is_file():
        return [name for folder, name in read_entries(common, [subset]) if folder == subset], common
    return None


def match_files(root: Path, subset: str, names: Sequence[str]) -> tuple[list[Item], list[str]]:
    """Finds the files of listed composites, and the faults of the list, as "masks/a_1.png of a_1_1.jpg is missing".

    It reads each folder once instead of asking for each file.

    Raises:
        UserError: a folder is missing or cannot be read, or a name fits two files.
    """
    composites, masks, reals = (Folder(list_folder(root / subset / folder)) for folder in FOLDERS)
    items, faults, seen = [], [], set()
    for listed in names:
        name = composites.find(listed)
        photo, photo_and_mask = parts_of(listed)
        if not photo:
            faults.append(f"{listed} is not named X_M_K.jpg (photo, mask, variant)")
        elif not name:
            faults.append(f"composite_images/{listed} is missing{composites.hint(Path(listed).stem)}")
        elif name in seen:
            faults.append(f"{listed} is named twice")
        elif not (mask := masks.of_stem(photo_and_mask)):
            hint = masks.hint(photo_and_mask, Path(listed).stem)
            faults.append(f"masks/{photo_and_mask}.png of {listed} is missing{hint}")
        elif not (real := reals.of_stem(photo)):
            hint = reals.hint(photo, Path(listed).stem)
            faults.append(f"real_images/{photo}.jpg of {listed} is missing{hint}")
        else:
            for folder, fitting in zip(FOLDERS[1:], (mask, real), strict=True):
                if len(fitting) > 1:
                    path = root / subset / folder / fitting[0]
                    raise UserError(f"{path} and {fitting[1]}: either could be meant by {listed}; keep one")
            items.append(Item(str(root), subset, name, mask[0], real[0]))
        seen.add(name)
    return items, faults


def parts_of(composite: str) -> tuple[str, str]:
    """``X`` and ``X_M`` of a composite named ``X_M_K.jpg``; ``X`` is empty if it is not named so."""
    photo_and_mask = Path(composite).stem.rpartition("_")[0]
    return photo_and_mask.rpartition("_")[0], photo_and_mask


def _is_subset(folder: Path, wanted: Sequence[str] | None) -> bool:
    """Whether a folder of the root is a subset.

    Raises:
        UserError: it is, or holds, a link to nothing, and may be one of the wanted subsets.
        OSError: it is one of the wanted subsets, or of iHarmony4, and cannot be read.
    """
    composites = folder / "composite_images"
    try:
        if composites.is_dir():
            return True
        broken = next((path for path in (folder, composites) if is_broken_link(path)), None)
    except OSError:
        if folder.name in (wanted or SUBSETS):
            raise
        return False
    if broken and not broken.suffix and (folder.name in wanted if wanted else not is_hidden(folder.name)):
        raise UserError(
            f"data.root: {broken} is a link to nothing; restore what it points to, or choose other subsets by data.subsets"
        )
    return False


def _strangers(common: Path, subsets: Collection[str]) -> dict[str, int]:
    """Subsets that the root does not hold, with the number of their lines in the common list."""
    counts = Counter(subset for subset, _ in read_entries(common, subsets))
    return {subset or "no subset": count for subset, count in counts.items() if subset not in subsets}


def _read_list(root: Path, subset: str, split: str) -> tuple[list[str], Path]:
    found = find_list(root, subset, split)
    if not found:
        own, common = root / subset / f"{subset}_{split}.txt", root / f"IHD_{split}.txt"
        broken = next((f"; {path.name} is a link to nothing" for path in (own, common) if is_broken_link(path)), "")
        raise UserError(f"{own}: no such list, nor {common}; either names the {split} composites, one a line{broken}")
    return found
