"""The objects of one's own photos, whichever way they are given, and which of them are of use.

::

    <photos>/{images,masks}/      the same names but for the suffix: one object a photo
    <photos>/photos.csv           with columns name and category, optional

or photos in a folder and their objects in files of annotations (:mod:`~frih.tools.composites.annotations`). Several folders of
the first form make one collection, whatever their order: photos of one name in two of them bear their folder's name in front,
as ``things-001`` and ``stuff-001``, and what is the same file in both is taken once.
"""

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frih.common.errors import UserError, did_you_mean
from frih.common.processes import Map
from frih.common.progress import progress_bar
from frih.data.images import HALF, open_mask
from frih.tools.composites.annotations import (
    AnnotatedPhoto,
    Outlined,
    draw,
    find_annotations,
    open_photo,
    read_annotations,
)

MIN_SHARE, MAX_SHARE = 0.01, 0.8
"""Bounds of the foreground's share of a photo, as iHarmony4's."""

NAMED = 5
"""So many of the photos and objects skipped for one reason are named on the screen."""
Skipped = dict[str, list[str]]
"""Photos and objects that are of no use, by reason."""


class Object(NamedTuple):
    """An object in a photo."""

    photo: str
    """The photo's file name without folders and suffix."""
    number: int | None
    """Which of the photo's annotated objects it is, from 1; None where each photo has one mask."""
    image: Path
    mask: Path | Outlined
    category: str

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return self.photo if self.number is None else f"{self.photo}_{self.number}"

    @property
    def is_renamed(self) -> bool:
        """Whether the photo bears its folder's name in front."""
        return isinstance(self.mask, Path) and self.photo != self.image.stem


def list_objects(photos: Sequence[Path], annotations: Path | None) -> tuple[list[Object], Skipped]:
    """Objects by their photos' names, those of a photo in the order of their annotation; and what is skipped.

    Args:
        photos: folders with ``images/`` and ``masks/``, or one with photos if there are annotations.
        annotations: a file of annotations, or a folder of such.

    Raises:
        UserError: a folder cannot be listed or has no masks, a file of annotations or ``photos.csv`` cannot be read, or photos
            cannot be told from each other.
    """
    if annotations is not None:
        if len(photos) > 1:
            raise UserError(
                f"{photos[1]}: with annotations there can be but one folder of photos; give their common folder"
            )
        return _list_annotated(photos[0], annotations)
    folders = {folder.resolve(): folder for folder in photos}
    if len(folders) < len(photos):
        raise UserError(f"{photos[-1]}: the same folder of photos is given twice; give each once")
    skipped: Skipped = defaultdict(list)
    return _told_apart([_list_masked(folder, skipped) for folder in photos], list(folders), skipped), skipped


def limit_categories(objects: Sequence[Object], skipped: Skipped, most: Mapping[str, int], seed: int) -> list[Object]:
    """Leaves so many photos of each category that ``most`` names; which ones follows from the seed and their names.

    Args:
        objects: with their categories.
        skipped: the others are added to it.
        most: photos by category.
        seed: of the choice.

    Raises:
        UserError: no object is of such a category.
    """
    photos: dict[str, set[str]] = defaultdict(set)
    for item in objects:
        photos[item.category].add(item.photo)
    left_out = set()
    for category, count in most.items():
        if category not in photos:
            raise UserError(
                f"--at-most {category}={count}: no photo is of this category{did_you_mean(category, photos)}"
            )
        order = sorted(photos[category], key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
        left_out |= {(category, name) for name in order[count:]}
    chosen = []
    for item in objects:
        if (item.category, item.photo) in left_out:
            skipped[f"more than {most[item.category]} of {item.category}"].append(_in_messages(item))
        else:
            chosen.append(item)
    return chosen


def parse_limits(texts: Sequence[str]) -> dict[str, int]:
    """``CATEGORY=N``, as a command has it, as {category: N}.

    Raises:
        UserError: it is not of this form.
    """
    limits = {}
    for text in texts:
        category, separator, number = text.rpartition("=")
        if not (separator and number.isdecimal() and int(number)):
            raise UserError(f"--at-most {text}: takes CATEGORY=N, as person=1000, with N of 1 or more")
        limits[category] = int(number)
    return limits


def choose_usable(
    objects: Sequence[Object], skipped: Skipped, most: int | None, size: int | None, each: Map
) -> tuple[list[Object], str]:
    """Reads all photos: the objects that are of use, and a digest of them; the others are added to the skipped ones.

    Args:
        objects: in the order of their photos.
        skipped: is added to.
        most: so many objects of a photo are taken, the largest; all by default.
        size: see :func:`read_object`.
        each: ``map``, perhaps over processes.
    """
    photos: dict[str, list[Object]] = defaultdict(list)
    for item in objects:
        photos[item.photo].append(item)
    usable, digest = [], hashlib.sha256()
    for group, findings in zip(photos.values(), each(partial(_inspect, size), list(photos.values())), strict=True):
        largest = sorted((i for i, found in enumerate(findings) if not found.reason), key=lambda i: -findings[i].share)
        for i, (item, finding) in enumerate(zip(group, findings, strict=True)):
            if finding.reason:
                skipped[finding.reason].append(finding.detail)
            elif i not in largest[:most]:
                skipped[f"not among the {most} largest of its photo"].append(_in_messages(item))
            else:
                usable.append(item)
                digest.update(json.dumps([item.name, item.category, finding.digest]).encode())
    return usable, digest.hexdigest()[:16]


def read_object(item: Object, size: int | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An object's photo, (H, W, 3), and its mask, (H, W), 0..255.

    Args:
        item: the object.
        size: the longer side at most; larger photos are reduced, so that masks' borders become grey. As they are by default.

    Raises:
        UserError: a file cannot be read, or the annotation is faulty.
    """
    image = open_photo(item.image)
    return np.asarray(_reduced(image, size)), np.asarray(_reduced(_open_mask(item, image), size))


def describe_skipped(skipped: Skipped) -> str:
    """How many are skipped for which reason, and some of their names; for people."""
    parts = []
    for reason, names in sorted(skipped.items()):
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        parts.append(f"{reason} {len(names)} ({', '.join(names[:NAMED])}{more})")
    return "; ".join(parts) or "there is none"


def shown(
    each: Map, label: str, unit: str, progress: bool, function: Callable[[Any], Any], tasks: Sequence[Any]
) -> Any:
    """The results, in order, behind a progress bar."""
    return progress_bar(each(function, tasks), desc=label, unit=unit, total=len(tasks), disable=not progress)


class _Finding(NamedTuple):
    """Why an object is of no use, if it is not, in general and in particular."""

    reason: str | None
    detail: str = ""
    share: float = 0
    """Of the photo that it covers."""
    digest: str = ""
    """Of the photo's file and the mask."""


def _list_masked(folder: Path, skipped: Skipped) -> list[Object]:
    images, masks = _by_stem(folder / "images"), _by_stem(folder / "masks")
    if images and not images.keys() & masks.keys():
        raise UserError(
            f"{folder}: masks/ holds none of the photos in images/; a mask is named as its photo (or give --annotations)"
        )
    categories = _read_categories(folder / "photos.csv")
    objects: list[Object] = []
    for name, paths in images.items():
        if len(paths) > 1 or len(masks.get(name, ())) > 1:
            skipped["two files of one name"].append(name)
        elif not _can_be_listed(name):
            skipped["name that a list cannot hold"].append(repr(name))
        elif name not in masks:
            skipped["without mask"].append(paths[0].name)
        elif categories is not None and name not in categories:
            skipped["not in photos.csv"].append(paths[0].name)
        else:
            category = categories[name] if categories is not None else ""
            objects.append(Object(name, None, paths[0], masks[name][0], category))
    return objects


def _told_apart(lists: Sequence[Sequence[Object]], folders: Sequence[Path], skipped: Skipped) -> list[Object]:
    """The objects of all folders by name, which are unlike."""
    named: dict[str, list[tuple[Path, Object]]] = defaultdict(list)
    for folder, objects in zip(folders, lists, strict=True):
        for item in objects:
            named[item.photo].append((folder, item))
    taken: dict[str, Object] = {}
    for name, group in sorted(named.items()):
        different: dict[bytes, tuple[Path, Object]] = {}
        for folder, item in sorted(group):
            content = item.image.read_bytes() if len(group) > 1 else b""
            if content in different:
                skipped["the same photo in two folders"].append(f"{folder.name}/images/{item.image.name}")
            different.setdefault(content, (folder, item))
        for folder, item in different.values():
            unlike = name if len(different) == 1 else f"{folder.name}-{name}"
            if unlike in taken or not _can_be_listed(unlike):
                raise UserError(
                    f"{item.image}: a photo of this name is in several folders, and {unlike!r}, with its folder's name in "
                    "front, does not tell it from all others; give the folders other names"
                )
            taken[unlike] = item._replace(photo=unlike)
    return [taken[name] for name in sorted(taken)]


def _list_annotated(folder: Path, annotations: Path) -> tuple[list[Object], Skipped]:
    if not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; give the one that holds the annotated photos")
    photos: dict[Path, AnnotatedPhoto] = {}
    objects: list[Object] = []
    skipped: Skipped = defaultdict(list)
    for photo in (photo for path in find_annotations(annotations) for photo in read_annotations(path)):
        image = _find_photo(folder, photo)
        if image is None:
            skipped["photo not there"].append(f"{photo.name} of {photo.source.name}")
        elif image in photos:
            raise UserError(f"{photo.source}: annotates {photo.name}, as {photos[image].source} does; keep one of them")
        else:
            photos[image] = photo
    stems: dict[str, list[Path]] = defaultdict(list)
    for image, photo in photos.items():
        stems[Path(photo.name).stem].append(image)
    for stem, images in sorted(stems.items()):
        photo = photos[images[0]]
        if len(images) > 1:
            skipped["two files of one name"].append(stem)
        elif not _can_be_listed(stem):
            skipped["name that a list cannot hold"].append(repr(stem))
        elif not photo.objects:
            skipped["without object"].append(photo.name)
        else:
            for number, item in enumerate(photo.objects, 1):
                if item.crowd:
                    skipped["crowd"].append(item.where)
                else:
                    objects.append(Object(stem, number, images[0], item, item.category))
    return objects, skipped


def _find_photo(folder: Path, photo: AnnotatedPhoto) -> Path | None:
    """A photo's file, with the folders that its annotation names or without; or the annotation, if it holds the photo."""
    for path in (folder / photo.name, folder / Path(photo.name).name):
        if path.is_file():
            return path
    return photo.source if photo.embedded else None


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """Files by name without suffix, sorted; hidden ones are left out."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be listed ({error}); photos are in images/, masks of the same names in masks/"
        ) from None
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        stems[path.stem].append(path)
    return dict(sorted(stems.items()))


def _can_be_listed(name: str) -> bool:
    """Whether a list file, one name a line, gives the name back."""
    printable = name.encode("utf-8", "ignore").decode("utf-8") == name
    return printable and name.splitlines() == [name.lstrip()] and "\\" not in name


def _read_categories(path: Path) -> dict[str, str] | None:
    """The category of each photo by its name without suffix; None where there is no such file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows or not {"name", "category"} <= rows[0].keys():
        raise UserError(f"{path}: needs the columns name and category, and a line for each photo")
    # a name may have its suffix or none, and dots of its own
    stems = {str(row["name"]): str(row["category"] or "") for row in rows}
    return {Path(name).stem: category for name, category in stems.items()} | stems


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
        sizes = "{}x{}, mask {}x{}".format(*image.size, *mask.size)
        return _Finding("mask of another size", f"{name} ({sizes})")
    share = float((np.asarray(_reduced(mask, size)) >= HALF).mean())
    if share == 0:
        return _Finding("empty mask", name)
    if not MIN_SHARE <= share <= MAX_SHARE:
        bounds = f"{MIN_SHARE:.0%} to {MAX_SHARE:.0%}"
        return _Finding(f"foreground not {bounds} of the image", f"{name} ({share:.1%})")
    return _Finding(None, share=share, digest=digest.hexdigest())


def _in_messages(item: Object) -> str:
    return item.image.name if isinstance(item.mask, Path) else item.mask.where


def _from_folder(error: Exception, item: Object) -> str:
    """An error's message without the folder of the photos in front."""
    folder = item.image.parent.parent if isinstance(item.mask, Path) else item.image.parent
    return str(error).replace(f"{folder}{os.sep}", "")


def _open_mask(item: Object, image: Image.Image) -> Image.Image:
    if isinstance(item.mask, Path):
        return open_mask(item.mask)
    return Image.fromarray(draw(item.mask, image.size).astype(np.uint8) * 255)


def _reduced(image: Image.Image, size: int | None) -> Image.Image:
    """An image whose longer side is no longer than that."""
    if size is None or max(image.size) <= size:
        return image
    width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
