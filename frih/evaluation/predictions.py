"""Harmonized images in files: which file belongs to which composite, and whether all are there and have the right size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from frih.common.errors import UserError
from frih.common.files import by_stem
from frih.data.iharmony4 import Item
from frih.data.images import is_image_name, open_rgb
from frih.data.transforms import render, whole
from frih.evaluation.layout import listed

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
"""What other programs append to the composite's name."""

Key = tuple[str, str]
"""A composite's subset and file name."""
Files = Mapping[Key, Path]


def find_predictions(
    folder: Path, items: Sequence[Item], *, size: int | None, pattern: str | None = None
) -> dict[Key, Path]:
    """The file of each composite's harmonized image.

    It is in the folder or in a subfolder named as the subset, in any image format. Its name is that of the composite, or has
    one of :data:`ENDINGS` appended.

    Args:
        folder: where to look.
        items: the composites.
        size: side in pixels of the evaluated images. A prediction has this size or its composite's own; None: only the latter.
        pattern: other names of the files, relative to the folder. ``{name}`` stands for the composite's name without suffix,
            ``{subset}`` for its subset.

    Raises:
        UserError: naming how many images are missing, doubled or of another size, and the first of each.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of predictions")
    if pattern is not None and "{name}" not in pattern:
        raise UserError(f'--pattern: {pattern!r} has no {{name}}; write it as "{{name}}_out.png"')
    candidates = _by_pattern(folder, items, pattern) if pattern else _by_name(folder, items)
    files = {key: paths[0] for key, paths in candidates.items() if len(paths) == 1}
    faults = _ambiguous(candidates, files, pattern) or _missized(files, items, size)
    if faults:
        raise UserError(f"{folder}: is not evaluated, for every image has to count once: {'; '.join(faults)}")
    return files


def open_prediction(path: Path, composite: Path, size: int | None) -> np.ndarray:
    """A prediction at the evaluated size, (H, W, 3) uint8.

    Args:
        path: its file.
        composite: the file of its composite.
        size: as for :func:`find_predictions`.

    Raises:
        UserError: it cannot be read, or has another size.
    """
    image = open_rgb(path)
    if size is not None and image.size == (size, size):
        return np.asarray(image)
    own = _size(composite)
    if own and image.size != own:
        raise UserError(_wrong(path, image.size, own, size))
    return np.asarray(image) if size is None else render(image, whole(image), size)


def _by_name(folder: Path, items: Sequence[Item]) -> dict[Key, list[Path]]:
    places = [folder, *(folder / subset for subset in {item.subset for item in items})]
    stems = {
        place: by_stem(path for path in place.iterdir() if is_image_name(path)) for place in places if place.is_dir()
    }
    found: dict[Key, list[Path]] = {}
    for item in items:
        there = stems.get(folder / item.subset, stems[folder])
        stem = Path(item.composite_name).stem
        found[item.subset, item.composite_name] = [path for end in ENDINGS for path in there.get(stem + end, ())]
    return found


def _by_pattern(folder: Path, items: Sequence[Item], pattern: str) -> dict[tuple[str, str], list[Path]]:
    found = {}
    for item in items:
        name = pattern.replace("{name}", Path(item.composite_name).stem).replace("{subset}", item.subset)
        places = [folder / item.subset / name, folder / name]
        found[item.subset, item.composite_name] = [path for path in places if path.is_file()][:1]
    return found


def _ambiguous(candidates: Mapping[Key, Sequence[Path]], files: Files, pattern: str | None) -> list[str]:
    """What is wrong unless every composite has one file, and every file one composite."""
    missing = ["/".join(key) for key, paths in candidates.items() if not paths]
    doubled = [
        f"{'/'.join(key)} by {' and '.join(path.name for path in paths)}"
        for key, paths in candidates.items()
        if len(paths) > 1
    ]
    users: dict[Path, list[str]] = {}
    for key, path in files.items():
        users.setdefault(path, []).append("/".join(key))
    shared = [f"{path.name} could be {' or '.join(names)}" for path, names in users.items() if len(names) > 1]
    faults = []
    if missing:
        endings = ", ".join(filter(None, ENDINGS))
        named = f"as {pattern}" if pattern else f"as the composites, or with {endings} appended (--pattern for others)"
        faults.append(f"{len(missing)} of {len(candidates)} are missing, {listed(missing)} (they are named {named})")
    if doubled:
        faults.append(f"{_are(doubled)} there more than once, {listed(doubled)}; keep one of each")
    if shared:
        faults.append(f"{len(shared)} could be of several, {listed(shared)}; sort them into a folder a subset")
    return faults


def _missized(files: Files, items: Sequence[Item], size: int | None) -> list[str]:
    wrong = []
    for item in items:
        path = files[item.subset, item.composite_name]
        theirs, own = _size(path), _size(item.composite)
        if (
            theirs and own and theirs != own and theirs != (size, size)
        ):  # an unreadable file is reported when it is read
            wrong.append(_wrong(path, theirs, own, size))
    return [f"{_are(wrong)} of another size, {listed(wrong)}"] if wrong else []


def _wrong(path: Path, theirs: tuple[int, int], own: tuple[int, int], size: int | None) -> str:
    wanted = "its composite is {} x {}".format(*own) + (f"; {size} x {size} would do too" if size else "")
    return "{} is {} x {}, but {}".format(path, *theirs, wanted)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height of the upright image, without reading its pixels."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return (image.height, image.width) if turned else image.size
    except (OSError, SyntaxError, ValueError):
        return None


def _are(found: Sequence[object]) -> str:
    return f"{len(found)} {'is' if len(found) == 1 else 'are'}"
