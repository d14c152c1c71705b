"""Anyone's harmonized images: the files that belong to a data set's composites, and whether they all fit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.data.iharmony4 import Item
from frih.data.images import SUFFIXES, open_rgb
from frih.data.transforms import render, whole

ENDINGS = (
    "",
    "_harmonized",
    "_HYT",
    "_harm",
    "_har",
    "_pred",
    "_pred_lowres",
    "_stage3_rgb",
    "_output",
    "_out",
    "_result",
    "_fake",
    "_fake_B",
)
"""What the programs of others put after the composite's name."""
EXIF_ORIENTATION = 0x0112

Files = Mapping[tuple[str, str], Path]
"""An image's file by subset and composite's name."""


def find_predictions(
    folder: Path, items: Sequence[Item], *, size: int | None, pattern: str | None = None
) -> dict[tuple[str, str], Path]:
    """The file of each composite's harmonized image.

    It lies in the folder or in a subfolder named as the subset, in any image format, and is named as the composite is,
    perhaps with one of :data:`ENDINGS` behind.

    Args:
        folder: where to look.
        items: the composites.
        size: side in pixels of the evaluated images, which a prediction has if it has not its composite's own; None: it
            must have that.
        pattern: how the files are named instead, from the folder or the subset's on; ``{name}`` stands for the composite's name
            without suffix, ``{subset}`` for its subset.

    Raises:
        UserError: naming how many images are missing, doubled or of another size, and the first of each.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of predictions")
    if pattern is not None and "{name}" not in pattern:
        raise UserError(f'--pattern: {pattern!r} has no {{name}}; write it as "{{name}}_out.png"')
    candidates = _by_pattern(folder, items, pattern) if pattern else _by_name(folder, items)
    files = {key: paths[0] for key, paths in candidates.items() if len(paths) == 1}
    faults = [*_missing(candidates, pattern), *_doubled(candidates), *_shared(files)]
    if not faults:
        faults = _missized(files, items, size)
    if faults:
        raise UserError(f"{folder}: is not evaluated, for every image has to count once: {'; '.join(faults)}")
    return files


def open_prediction(path: Path, composite: Path, size: int | None) -> np.ndarray:
    """A prediction at the evaluated size, (H, W, 3) uint8.

    Args:
        path: its file.
        composite: that of its composite.
        size: as for :func:`find_predictions`.

    Raises:
        UserError: it cannot be read, or is of another size.
    """
    image = open_rgb(path)
    if size is not None and image.size == (size, size):
        return np.asarray(image)
    own = _size(composite)
    if own and image.size != own:
        raise UserError(_wrong(path, image.size, own, size))
    return np.asarray(image) if size is None else render(image, whole(image), size)


def _by_name(folder: Path, items: Sequence[Item]) -> dict[tuple[str, str], list[Path]]:
    stems: dict[Path, dict[str, list[Path]]] = {}
    for place in [folder, *(folder / subset for subset in {item.subset for item in items})]:
        if place.is_dir():
            stems[place] = _by_stem(place)
    found: dict[tuple[str, str], list[Path]] = {}
    for item in items:
        own = folder / item.subset
        there = stems[own if own in stems else folder]
        stem = Path(item.composite_name).stem
        found[item.subset, item.composite_name] = [path for end in ENDINGS for path in there.get(stem + end, ())]
    return found


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files


def _by_pattern(folder: Path, items: Sequence[Item], pattern: str) -> dict[tuple[str, str], list[Path]]:
    found = {}
    for item in items:
        name = pattern.replace("{name}", Path(item.composite_name).stem).replace("{subset}", item.subset)
        places = [folder / item.subset / name, folder / name]
        found[item.subset, item.composite_name] = [path for path in places if path.is_file()][:1]
    return found


def _missing(candidates: Mapping[tuple[str, str], Sequence[Path]], pattern: str | None) -> list[str]:
    missing = ["/".join(key) for key, paths in candidates.items() if not paths]
    if not missing:
        return []
    endings = ", ".join(ending for ending in ENDINGS if ending)
    named = f"as {pattern}" if pattern else f"as the composites, or with {endings} behind (--pattern for others)"
    return [f"{len(missing)} of {len(candidates)} are missing, {_some(missing)} (they are named {named})"]


def _doubled(candidates: Mapping[tuple[str, str], Sequence[Path]]) -> list[str]:
    doubled = [f"{'/'.join(key)} by {_and(paths)}" for key, paths in candidates.items() if len(paths) > 1]
    return [f"{_are(doubled)} there more than once, {_some(doubled)}; keep one of each"] if doubled else []


def _shared(files: Files) -> list[str]:
    users: dict[Path, list[str]] = {}
    for key, path in files.items():
        users.setdefault(path, []).append("/".join(key))
    shared = [f"{path.name} could be {' or '.join(names)}" for path, names in users.items() if len(names) > 1]
    return [f"{len(shared)} could be of several, {_some(shared)}; sort them into a folder a subset"] if shared else []


def _missized(files: Files, items: Sequence[Item], size: int | None) -> list[str]:
    wrong = []
    for item in items:
        path = files[item.subset, item.composite_name]
        theirs, own = _size(path), _size(item.composite)
        if theirs and own and theirs not in _sizes(own, size):  # what cannot be read is told when it is read
            wrong.append(_wrong(path, theirs, own, size))
    return [f"{_are(wrong)} of another size, {_some(wrong)}"] if wrong else []


def _sizes(own: tuple[int, int], size: int | None) -> list[tuple[int, int]]:
    return [own] if size is None else [own, (size, size)]


def _wrong(path: Path, theirs: tuple[int, int], own: tuple[int, int], size: int | None) -> str:
    wanted = "its composite is {} x {}".format(*own) + (f"; {size} x {size} would do too" if size else "")
    return "{} is {} x {}, but {}".format(path, *theirs, wanted)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image held upright, without reading its pixels."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    except (OSError, SyntaxError, ValueError):
        return None


def _are(found: Sequence[object]) -> str:
    return f"{len(found)} {'is' if len(found) == 1 else 'are'}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _and(paths: Sequence[Path]) -> str:
    return " and ".join(path.name for path in paths)
