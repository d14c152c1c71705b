"""The objects in your own images, in each of the forms that they may have, and which of them are usable.

::

    <photos>/{images,masks}/      the same names except for the suffix: one object in each photo
    <photos>/photos.csv           with columns name and category, optional

Or photos in a folder, and their objects in files of annotations (:mod:`~frih.tools.composites.annotations`). Several folders of
the first form make one collection; their order does not matter. If two folders have different photos of the same name, the
folder's name is put in front, as ``things-001`` and ``stuff-001``. The same file in two folders is taken once.
"""

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.common.errors import UserError, did_you_mean
from frih.common.files import by_stem, is_hidden
from frih.common.processes import Map
from frih.common.progress import progress_bar
from frih.data.images import HALF, is_image_name, open_mask
from frih.tools.composites.annotations import (
    AnnotatedPhoto,
    Outlined,
    draw,
    find_annotations,
    open_photo,
    read_annotations,
)

MIN_SHARE, MAX_SHARE = 0.01, 0.8
"""Bounds of the foreground's share of a photo, as in iHarmony4."""

NAMED = 5
"""The most names that are shown for one reason why photos or objects are skipped."""
Skipped = dict[str, list[str]]
"""Names of photos and objects that are not usable, by reason."""


class Object(NamedTuple):
    """An object in a photo."""

    photo: str
    """The photo's file name without folders and suffix."""
    number: int | None
    """The number of the annotated object in its photo, from 1; None where each photo has one mask."""
    image: Path
    mask: Path | Outlined
    category: str

    @property
    def name(self) -> str:
        """A name that no other object has."""
        return self.photo if self.number is None else f"{self.photo}_{self.number}"

    @property
    def is_renamed(self) -> bool:
        """Whether the folder's name was put in front of the photo's."""
        return isinstance(self.mask, Path) and self.photo != self.image.stem


def choose_objects(
    folders: Sequence[Path],
    annotations: Path | None,
    at_most: Mapping[str, int],
    objects: int | None,
    size: int | None,
    seed: int,
    each: Map,
) -> tuple[list[Object], str, Skipped]:
    """Finds all objects and reads all photos.

    Args:
        folders: folders with ``images/`` and ``masks/``, or one with photos if there are annotations.
        annotations: a file of annotations, or a folder of such files.
        at_most: so many photos of each category that it names; the seed and the photos' names decide which.
        objects: so many objects of a photo, the largest; all if it is None.
        size: see :func:`read_object`.
        seed: of the choice among the photos of a category.
        each: ``map``, perhaps over processes.

    Returns:
        The usable objects, sorted by the photos' names, those of one photo in the order of their annotation; their number and a
        digest of them; and what is skipped.

    Raises:
        UserError: a folder cannot be listed or has no masks, a file of annotations or ``photos.csv`` cannot be read, two photos
            have the same name, no photo is of a category in ``at_most``, or none is usable.
    """
    skipped: Skipped = defaultdict(list)
    found = _list_masked(folders, skipped) if annotations is None else _list_annotated(folders, annotations, skipped)
    photos: dict[str, list[Object]] = defaultdict(list)
    for item in _limited(found, at_most, seed, skipped):
        photos[item.photo].append(item)
    usable, digest = [], hashlib.sha256()
    for group, findings in zip(photos.values(), each(partial(_inspect, size), list(photos.values())), strict=True):
        largest = sorted((i for i, found in enumerate(findings) if not found.reason), key=lambda i: -findings[i].share)
        for i, (item, finding) in enumerate(zip(group, findings, strict=True)):
            if finding.reason:
                skipped[finding.reason].append(finding.detail)
            elif i not in largest[:objects]:
                skipped[f"not among the {objects} largest of its photo"].append(_in_messages(item))
            else:
                usable.append(item)
                digest.update(json.dumps([item.name, item.category, finding.digest]).encode())
    if not usable:
        raise UserError(f"{', '.join(map(str, folders))}: no usable photo; {describe_skipped(skipped)}")
    return usable, f"{len(usable)} of digest {digest.hexdigest()[:16]}", skipped


def parse_limits(texts: Sequence[str]) -> dict[str, int]:
    """The numbers by category of a program's arguments ``CATEGORY=N``.

    Raises:
        UserError: an argument has another form.
    """
    limits = {}
    for text in texts:
        category, separator, number = text.rpartition("=")
        if not (separator and number.isdecimal() and int(number)):
            raise UserError(f"--at-most {text}: takes CATEGORY=N, as person=1000, with N of 1 or more")
        limits[category] = int(number)
    return limits


def read_object(item: Object, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An object's photo, (H, W, 3), and its mask, (H, W), 0..255.

    Args:
        item: the object.
        size: larger photos are reduced to this longer side, which makes the borders of masks grey; None keeps their size.

    Raises:
        UserError: a file cannot be read, or the annotation is faulty.
    """
    image = open_photo(item.image)
    return np.asarray(_reduced(image, size)), np.asarray(_reduced(_open_mask(item, image), size))


def describe_skipped(skipped: Skipped) -> str:
    """How many are skipped for each reason, with some of their names."""
    parts = []
    for reason, names in sorted(skipped.items()):
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        parts.append(f"{reason} {len(names)} ({', '.join(names[:NAMED])}{more})")
    return "; ".join(parts) or "there is none"


def shown(
    each: Map, label: str, unit: str, progress: bool, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Iterable[Any]:
    """Yields the results in order and shows a progress bar."""
    return progress_bar(each(function, tasks), desc=label, unit=unit, total=len(tasks), disable=not progress)


class _Finding(NamedTuple):
    """Why an object is not usable, or what is known of a usable one."""

    reason: str | None
    detail: str = ""
    """The object's name, and more about the reason."""
    share: float = 0
    """The foreground's share of the photo."""
    digest: str = ""
    """Of the photo's file and the mask."""


def _list_masked(folders: Sequence[Path], skipped: Skipped) -> list[Object]:
    """The objects of all folders by name. Photos of the same name get other names."""
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(folders):
        raise UserError(f"{folders[-1]}: the same folder of photos is given twice; give each once")
    named: dict[str, list[tuple[Path, Object]]] = defaultdict(list)
    for given, folder in zip(folders, resolved, strict=True):
        for item in _list_folder(given, skipped):
            named[item.photo].append((folder, item))
    taken: dict[str, Object] = {}
    for name, group in sorted(named.items()):
        different: dict[bytes, tuple[Path, Object]] = {}
        for folder, item in sorted(group):
            content = item.image.read_bytes() if len(group) > 1 and item.image.is_file() else b""
            if content in different:
                skipped["the same photo in two folders"].append(f"{folder.name}/images/{item.image.name}")
            different.setdefault(content, (folder, item))
        for folder, item in different.values():
            unique = name if len(different) == 1 else f"{folder.name}-{name}"
            if unique in taken or not _can_be_listed(unique):
                raise UserError(
                    f"{item.image}: a photo of this name is in several folders, and with its folder's name in front, "
                    f"{unique!r}, it still has the name of another; give the folders other names"
                )
            taken[unique] = item._replace(photo=unique)
    return [taken[name] for name in sorted(taken)]


def _list_folder(folder: Path, skipped: Skipped) -> list[Object]:
    images, masks = _files(folder / "images"), _files(folder / "masks")
    if images and not images.keys() & masks.keys():
        raise UserError(
            f"{folder}: masks/ holds none of the photos in images/; name each mask as its photo (or give --annotations)"
        )
    categories = read_photo_categories(folder / "photos.csv")
    objects: list[Object] = []
    for name, paths in images.items():
        if not _is_skipped(name, [*paths, *masks.get(name, ())[1:]], skipped):
            if name not in masks:
                skipped["without mask"].append(paths[0].name)
            elif categories is not None and name not in categories:
                skipped["not in photos.csv"].append(paths[0].name)
            else:
                objects.append(Object(name, None, paths[0], masks[name][0], (categories or {}).get(name, "")))
    return objects


def _list_annotated(folders: Sequence[Path], annotations: Path, skipped: Skipped) -> list[Object]:
    if len(folders) > 1:
        raise UserError(f"{folders[1]}: annotations go with only one folder of photos; give the folder above them")
    if not folders[0].is_dir():
        raise UserError(f"{folders[0]}: is not a folder; give the one that holds the annotated photos")
    photos: dict[Path, AnnotatedPhoto] = {}
    for photo in (photo for path in find_annotations(annotations) for photo in read_annotations(path)):
        image = _find_photo(folders[0], photo)
        if image is None:
            skipped["photo not there"].append(f"{photo.name} of {photo.source.name}")
        elif image in photos:
            raise UserError(f"{photo.source}: annotates {photo.name}, as {photos[image].source} does; keep one of them")
        else:
            photos[image] = photo
    stems: dict[str, list[Path]] = defaultdict(list)
    for image, photo in photos.items():
        stems[Path(photo.name).stem].append(image)
    objects: list[Object] = []
    for stem, images in sorted(stems.items()):
        photo = photos[images[0]]
        if _is_skipped(stem, images, skipped):
            continue
        if not photo.objects:
            skipped["without object"].append(photo.name)
        for number, item in enumerate(photo.objects, 1):
            if item.crowd:
                skipped["crowd"].append(item.where)
            else:
                objects.append(Object(stem, number, images[0], item, item.category))
    return objects


def _find_photo(folder: Path, photo: AnnotatedPhoto) -> Path | None:
    """A photo's file, with or without the folders in its annotation; or the annotation's file, if it holds the photo."""
    for path in (folder / photo.name, folder / Path(photo.name).name):
        if path.is_file():
            return path
    return photo.source if photo.embedded else None


def _is_skipped(stem: str, files: Sequence[Path], skipped: Skipped) -> bool:
    """Skips a photo whose name is not usable."""
    if len(files) > 1:
        skipped["two files of one name"].append(stem)
    elif not _can_be_listed(stem):
        skipped["name that a list cannot hold"].append(repr(stem))
    else:
        return False
    return True


def _can_be_listed(name: str) -> bool:
    """Whether a reader of a list file, with one name in each line, gets the same name."""
    printable = name.encode("utf-8", "ignore").decode("utf-8") == name
    return printable and name.splitlines() == [name.lstrip()] and "\\" not in name


def _files(folder: Path) -> dict[str, list[Path]]:
    """Files by their names without suffix, sorted, without hidden ones; a pipe named as an image is one."""
    try:
        found = [path for path in folder.iterdir() if not is_hidden(path.name)]
        return by_stem(path for path in found if is_image_name(path) or path.is_file())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed ({error}); photos are in images/, masks of the same names in masks/"
        ) from None


def read_photo_categories(path: Path) -> dict[str, str] | None:
    """The category of each photo by its name without suffix, from a CSV file; None where there is no such file.

    Raises:
        UserError: the file cannot be read, or lacks the columns name and category.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows or not {"name", "category"} <= rows[0].keys():
        raise UserError(f"{path}: needs the columns name and category, and a line for each photo")
    # a name may come with or without its suffix, and may hold other dots
    names = {str(row["name"]): str(row["category"] or "") for row in rows}
    return {Path(name).stem: category for name, category in names.items()} | names


def _limited(objects: Sequence[Object], at_most: Mapping[str, int], seed: int, skipped: Skipped) -> Iterable[Object]:
    photos: dict[str, set[str]] = defaultdict(set)
    for item in objects:
        photos[item.category].add(item.photo)
    left_out = set()
    for category, count in at_most.items():
        if category not in photos:
            raise UserError(
                f"--at-most {category}={count}: no photo is of this category{did_you_mean(category, photos)}"
            )
        order = sorted(photos[category], key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
        left_out |= {(category, name) for name in order[count:]}
    for item in objects:
        if (item.category, item.photo) in left_out:
            skipped[f"more than {at_most[item.category]} of {item.category}"].append(_in_messages(item))
        else:
            yield item


def _inspect(size: int | None, objects: Sequence[Object]) -> list[_Finding]:
    """Looks at all objects of one photo."""
    path = objects[0].image
    try:
        image, digest = open_photo(path), hashlib.sha256(path.read_bytes())
    except (UserError, OSError) as error:
        return [_Finding("unreadable", _from_folder(error, item)) for item in objects]
    return [_inspect_mask(item, image, size, digest.copy()) for item in objects]


def _inspect_mask(item: Object, image: Image.Image, size: int | None, digest: "hashlib._Hash") -> _Finding:
    name = _in_messages(item)
    try:
        mask = _open_mask(item, image)
        digest.update(item.mask.read_bytes() if isinstance(item.mask, Path) else repr(item.mask.outlines).encode())
    except (UserError, OSError) as error:
        return _Finding("unreadable" if item.number is None else "faulty annotation", _from_folder(error, item))
    if image.size != mask.size:
        return _Finding("mask of another size", "{} ({}x{}, mask {}x{})".format(name, *image.size, *mask.size))
    share = float((np.asarray(_reduced(mask, size)) >= HALF).mean())
    if share == 0:
        return _Finding("empty mask", name)
    if not MIN_SHARE <= share <= MAX_SHARE:
        return _Finding(f"foreground not {MIN_SHARE:.0%} to {MAX_SHARE:.0%} of the image", f"{name} ({share:.1%})")
    return _Finding(None, share=share, digest=digest.hexdigest())


def _in_messages(item: Object) -> str:
    return item.image.name if isinstance(item.mask, Path) else item.mask.where


def _from_folder(error: Exception, item: Object) -> str:
    """An error's message, with paths that begin inside the folder of photos."""
    folder = item.image.parent.parent if isinstance(item.mask, Path) else item.image.parent
    return str(error).replace(f"{folder}{os.sep}", "")


def _open_mask(item: Object, image: Image.Image) -> Image.Image:
    if isinstance(item.mask, Path):
        return open_mask(item.mask)
    return Image.fromarray(draw(item.mask, image.size).astype(np.uint8) * 255)


def _reduced(image: Image.Image, size: int | None) -> Image.Image:
    """An image with a longer side of ``size`` at most."""
    if size is None or max(image.size) <= size:
        return image
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
