"""Which mask belongs to which image: of two files, two folders or two patterns."""

import glob
from pathlib import Path

from frih.common.errors import UserError
from frih.data.folders import form, grouped
from frih.data.images import is_image_name, readable_first

_MARKS = "-mask", "_mask"


def find_pairs(image: str, mask: str) -> tuple[dict[Path, Path], list[str]]:
    """Images with their masks, and a message for each image without one.

    In a folder a mask has the name of its image, or that and "-mask" or "_mask"; then both may be in one folder. As in
    iHarmony4, X_M is the mask of X_M_K where there is no image X_M.

    Args:
        image: a file, a folder or a pattern.
        mask: as ``image``.

    Raises:
        UserError: one of them is a file and the other is not; there is no image; or images and masks are the same files.
    """
    images, masks = find_images(image), find_images(mask)
    if (images is None) != (masks is None):
        raise UserError(f"{image} and {mask}: give two files, or two folders or patterns")
    if images is None or masks is None:
        if _same(Path(image), Path(mask)):
            raise UserError(f"{mask}: is the image itself; give its mask")
        return {Path(image): Path(mask)}, []
    if not images:
        raise UserError(f"{image}: holds no image")
    stems = grouped(masks, _stem)
    marked = {_stem(path) + mark for path in images for mark in _MARKS}
    images = [
        path
        for path in images
        if _stem(path) not in marked or not any(_same(path, one) for one in stems.get(_stem(path), []))
    ]
    if len(images) == len(masks) and all(map(_same, images, masks)):
        folder = image if Path(image).is_dir() else Path(image).parent
        raise UserError(
            f"{image}: which are images and which are masks? Give two folders, or two patterns in quotes, as "
            f'"{folder}/*.jpg" "{folder}/*.png"; or name the mask of X.jpg X-mask.png'
        )
    names = grouped(images, _stem)
    pairs, failures = {}, []
    for path in images:
        stem = _stem(path)
        photo_and_mask = stem.rpartition("_")[0]
        shared = stems.get(photo_and_mask, []) if "_" in photo_and_mask and photo_and_mask not in names else []
        own = [one for one in stems.get(stem, []) if not _same(one, path)]
        found = own or [one for mark in _MARKS for one in stems.get(stem + mark, [])] or shared
        if len(found) == 1:
            pairs[path] = found[0]
        elif found:
            failures.append(f"{found[0]} and {found[1].name}: either could be the mask of {path.name}; keep one")
        elif stem in stems:
            failures.append(f"{stems[stem][0]}: is the image itself; give its mask")
        else:
            failures.append(f"{mask}: has no mask for {path.name}; a mask has the name of its image")
    return pairs, failures


def find_images(name: str) -> list[Path] | None:
    """The images in a folder or of a pattern, sorted; None for the name of one file."""
    path = Path(name)
    if path.is_dir():
        found = list(path.iterdir())
    elif not path.exists() and glob.has_magic(name):
        found = [Path(one) for one in glob.glob(name, recursive=True)]  # noqa: PTH207 (Path.glob takes no absolute pattern)
    else:
        return None
    return readable_first(sorted(one for one in found if is_image_name(one)))


def _stem(path: Path) -> str:
    return form(path.stem)


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file; links count."""
    return one == other or (one.exists() and other.exists() and one.samefile(other))
