"""Where results are written, in which format, and what they must not replace."""

import os
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frih.common.errors import UserError
from frih.common.files import whole_file
from frih.data.folders import letters
from frih.harmonizing.own_images import is_opaque

PNG: tuple[str, dict[str, Any]] = "PNG", {"compress_level": 3}  # files are a tenth larger, in two fifths of the time
JPEG: tuple[str, dict[str, Any]] = "JPEG", {"quality": 95, "subsampling": 0}
BMP: tuple[str, dict[str, Any]] = "BMP", {}
WEBP: tuple[str, dict[str, Any]] = "WEBP", {"lossless": True}
TIFF: tuple[str, dict[str, Any]] = "TIFF", {"compression": "tiff_lzw"}
FORMATS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".bmp": BMP, ".webp": WEBP, ".tif": TIFF, ".tiff": TIFF}
"""How a file is written, by suffix. Every format but JPEG keeps every value."""
_OPAQUE = "JPEG", "BMP"
"""Formats without alpha."""
_RESOLUTION = 282, 283, 296
_DESCRIPTIONS = *_RESOLUTION, 270, 271, 272, 305, 306, 315, 316, 700
"""The tags below 1000 that describe an image (maker, date, artist, XMP, ...). The others say how its pixels are stored."""
_PROFILE = 34675


def target(image: Path, out: Path, suffix: str | None, count: int) -> Path:
    """The file for an image's result.

    Args:
        image: its file.
        out: a file or a folder, as the user names it.
        suffix: of files in a folder; None for the image's own, or .png where that format is not written.
        count: number of images.

    Raises:
        UserError: ``out`` is one file for several images, or of an unknown format.
    """
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if count > 1:
            raise UserError(f"-o {out}: is one file for {count} images; give a folder")
        return out
    if out.suffix and count == 1 and not out.is_dir():
        raise UserError(f"-o {out}: its format is unknown; take one of {', '.join(sorted(FORMATS))}, or name a folder")
    if not suffix and image.suffix.lower() not in FORMATS:
        return out / f"{image.stem}.png"
    return out / f"{image.stem}{suffix or image.suffix}"


def beside(target: Path, what: str, suffix: str = ".png") -> Path:
    """The file that accompanies a result, as a sheet does."""
    return target.with_name(f"{target.stem}-{what}{suffix}")


def check_outputs(
    outputs: Mapping[Path, list[Path]] | Mapping[None, list[Path]], inputs: Iterable[Path], overwrite: bool
) -> None:
    """Checks, before any work, that outputs replace neither each other nor any input.

    Args:
        outputs: by image, or None; the first is its result, the others accompany it.
        inputs: all images and masks that were named.
        overwrite: a result may replace its own image.

    Raises:
        UserError: two outputs have one name, an output is an input, or a folder cannot be written.
    """
    writers: dict[str, Path | None] = {}
    for image, paths in outputs.items():
        for path in paths:
            other = writers.setdefault(_key(path), image)
            if other != image:
                raise UserError(f"{other} and {image}: would both become {path}; keep one, or rename it")
    for folder in {path.parent for paths in outputs.values() for path in paths}:
        _check_folder(folder)
    known: dict[tuple[int, int], set[Path]] = {}
    for path in filter(Path.exists, inputs):
        known.setdefault(_identity(path), set()).add(path)
    for image, paths in outputs.items():
        for path in filter(Path.exists, paths):
            replaced = known.get(_identity(path), set())
            if path == paths[0] and replaced == {image}:
                if not overwrite:
                    raise UserError(f"{path}: is the image itself; give another place with -o, or --overwrite")
            elif replaced:
                raise UserError(f"{path}: is an image or a mask that is to be read; give another place with -o")


def check_alpha(pixels: np.ndarray, path: Path) -> None:
    """Checks that an image's alpha can be written.

    Args:
        pixels: (H, W, 3 or 4).
        path: the file to write.

    Raises:
        UserError: it has transparent pixels, and the format has no alpha.
    """
    form = FORMATS[path.suffix.lower()][0]
    if form in _OPAQUE and not is_opaque(pixels):
        raise UserError(f"{path}: its image has transparent pixels, which {form} cannot keep; take .png, .webp or .tif")


def save(image: Image.Image, path: Path) -> None:
    """Writes an image with its colour profile and metadata, completely or not at all.

    Raises:
        UserError: the format cannot hold it.
        OSError: the file cannot be written.
    """
    format_, options = FORMATS[path.suffix.lower()]
    if format_ in _OPAQUE and image.mode == "RGBA":
        check_alpha(np.asarray(image), path)
        image = image.convert("RGB")
    kept = {name: image.info[name] for name in ("icc_profile", "exif", "dpi", "xmp") if image.info.get(name)}
    if format_ == "TIFF" and "exif" in kept:
        kept["exif"] = _descriptions(kept["exif"])
        if any(tag not in _RESOLUTION for tag in kept["exif"]):
            options = {"compression": "raw"}  # libtiff, which compresses, fails on a camera's metadata
    with whole_file(path) as file:
        try:
            image.save(file, format=format_, **kept, **options)
        except (ValueError, TypeError, OverflowError, RuntimeError, struct.error) as error:
            raise UserError(f"{path}: cannot be written as {format_} ({error}); take .png or .tif") from None


def _descriptions(exif: bytes) -> Image.Exif:
    """Metadata without what it says of the pixels of the file it comes from, for TIFF keeps both in one place."""
    kept = Image.Exif()
    kept.load(exif)
    for tag in list(kept):
        if tag == _PROFILE or (tag < 1000 and tag not in _DESCRIPTIONS):
            del kept[tag]
    return kept


def _check_folder(folder: Path) -> None:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise UserError(f"-o: {there} is a file, not a folder; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"-o: {there} cannot be written; change its permissions, or give another place")


def _key(path: Path) -> str:
    """A path in the form by which the system tells files apart."""
    if sys.platform in ("darwin", "win32"):
        return letters(str(path))
    return str(path)


def _identity(path: Path) -> tuple[int, int]:
    """Of a file; all of its names and links have the same."""
    status = path.stat()
    return status.st_dev, status.st_ino
