"""The command ``frih``: harmonizes your own images.

    frih harmonize IMAGE MASK -o OUT [--weights runs/frih]

IMAGE and MASK are two files, two folders, or two quoted patterns such as "photos/*.jpg". In a folder a mask has the name of its
image, with any suffix. OUT is a file, or a folder; files in it get the images' names. If some images cannot be harmonized, the
others still are; the failures are listed at the end, and the exit status is 2.
"""

import argparse
import glob
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from frih.common.drawing import color_labels, image_sheet
from frih.common.errors import USER_ERROR, UserError, run_command
from frih.common.files import by_stem, whole_file
from frih.common.progress import progress_bar
from frih.data.images import is_image_name
from frih.harmonizing.harmonizer import PRETRAINED, Details, Harmonizer

PNG: tuple[str, dict[str, Any]] = "PNG", {}
JPEG: tuple[str, dict[str, Any]] = "JPEG", {"quality": 95, "subsampling": 0}
BMP: tuple[str, dict[str, Any]] = "BMP", {}
WEBP: tuple[str, dict[str, Any]] = "WEBP", {"lossless": True}
TIFF: tuple[str, dict[str, Any]] = "TIFF", {"compression": "tiff_lzw"}
FORMATS = {".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".bmp": BMP, ".webp": WEBP, ".tif": TIFF, ".tiff": TIFF}
"""How a file is written, by suffix. Every format but JPEG keeps every value."""
_SHEET = 512
"""The longer side of an image on a sheet."""


def main() -> None:
    """The entry point of the installed command."""
    parser = argparse.ArgumentParser("frih", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    harmonize = commands.add_parser(
        "harmonize",
        help="harmonize your own images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    harmonize.add_argument(
        "-w",
        "--weights",
        metavar="WEIGHTS",
        default=os.environ.get("FRIH_WEIGHTS") or PRETRAINED,
        help="a run's folder, a file or a folder of weights, or hf://USER/NAME; default: the environment variable "
        "FRIH_WEIGHTS, or else the weights that come with the software",
    )
    add_arguments(harmonize)
    run_command(lambda: harmonize_files(parser.parse_args()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that ``frih harmonize`` and ``scripts/harmonize.py`` share."""
    parser.add_argument("image", metavar="IMAGE", help="an image, a folder, or a quoted pattern")
    parser.add_argument("mask", metavar="MASK", help="its mask, white = foreground, or a cut-out foreground with alpha")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="a file or a folder")
    parser.add_argument("--strength", type=float, default=1.0, help="share of the change, 0 to 1 (default: 1)")
    parser.add_argument("--size", type=int, metavar="S", help="side at which the network sees the image, 128, 256, ...")
    parser.add_argument("--suffix", choices=sorted(FORMATS), help="of files in a folder; default: the image's own")
    parser.add_argument("--submasks", action="store_true", help="write OUT-submasks.png as well")
    parser.add_argument("--compare", action="store_true", help="write OUT-compare.png, a sheet of all stages, as well")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist; they are skipped otherwise")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")


def harmonize_files(args: argparse.Namespace) -> int:
    """Harmonizes the images of a command line and returns the exit status."""
    if not 0 <= args.strength <= 1:
        raise UserError(f"--strength: must be from 0 (no change) to 1 (the network's), not {args.strength:g}")
    pairs, failures = find_pairs(args.image, args.mask)
    count = len(pairs) + len(failures)
    targets = {image: _target(image, args.out, args.suffix, count) for image in pairs}
    images: dict[Path, Path] = {}
    for image, target in targets.items():
        if images.setdefault(target, image) != image:
            raise UserError(f"{images[target]} and {image}: would both become {target}; keep one, or rename it")
    for folder in {target.parent for target in images}:
        _check_folder(folder)
    harmonizer = Harmonizer.load(args.weights, args.device, args.size)
    done = skipped = 0
    for image, mask in progress_bar(pairs.items(), unit="image", disable=count == 1):
        target = targets[image]
        try:
            if target.exists() and not args.overwrite:
                if target.samefile(image):
                    raise UserError(f"{target}: is the image itself; give another place with -o, or --overwrite")
                skipped += 1
                continue
            _harmonize_file(harmonizer, image, mask, target, args)
            done += 1
        except UserError as error:
            failures.append(str(error))
        except OSError as error:
            failures.append(f"{target}: cannot be written ({error.strerror or error})")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    already = f" ({skipped} more exist already; --overwrite replaces them)" if skipped else ""
    print(f"{done} of {count} harmonized, in {args.out}{already}")
    return USER_ERROR if failures else 0


def find_pairs(image: str, mask: str) -> tuple[dict[Path, Path], list[str]]:
    """Images with their masks, and a message for each image without one."""
    images, masks = _find(image), _find(mask)
    if (images is None) != (masks is None):
        raise UserError(f"{image} and {mask}: give two files, or two folders or patterns")
    if images is None or masks is None:
        return {Path(image): Path(mask)}, []
    if not images:
        raise UserError(f"{image}: holds no image")
    stems = by_stem(masks)
    pairs, failures = {}, []
    for path in images:
        found = stems.get(path.stem, [])
        if len(found) == 1:
            pairs[path] = found[0]
        elif found:
            failures.append(f"{found[0]} and {found[1].name}: have the same name; keep one")
        else:
            failures.append(f"{mask}: has no mask for {path.name}; a mask has the name of its image")
    return pairs, failures


def _find(name: str) -> list[Path] | None:
    """The images in a folder or of a pattern; None for the name of one file."""
    path = Path(name)
    if path.is_dir():
        found = list(path.iterdir())
    elif not path.exists() and glob.has_magic(name):
        found = [Path(one) for one in glob.glob(name, recursive=True)]  # noqa: PTH207 (Path.glob takes no absolute pattern)
    else:
        return None
    return sorted(one for one in found if is_image_name(one))


def _target(image: Path, out: Path, suffix: str | None, count: int) -> Path:
    """The file for an image's result."""
    if out.suffix.lower() in FORMATS and not out.is_dir():
        if count > 1:
            raise UserError(f"-o {out}: is one file for {count} images; give a folder")
        return out
    if out.suffix and count == 1 and not out.is_dir():
        raise UserError(f"-o {out}: its format is unknown; take one of {', '.join(sorted(FORMATS))}, or name a folder")
    if not suffix and image.suffix.lower() not in FORMATS:
        return out / f"{image.stem}.png"
    return out / f"{image.stem}{suffix or image.suffix}"


def _check_folder(folder: Path) -> None:
    """Checks, before any work, that a folder can be written."""
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise UserError(f"-o: {there} is a file, not a folder; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"-o: {there} cannot be written; change its permissions, or give another place")


def _harmonize_file(harmonizer: Harmonizer, image: Path, mask: Path, target: Path, args: argparse.Namespace) -> None:
    """Harmonizes one file and writes the result, and the sheets that ``args`` asks for."""
    result, details = harmonizer(image, mask, args.strength, return_details=True)
    assert isinstance(result, Image.Image)  # as for every file
    if not details.labels.any():
        size = len(details.labels)
        raise UserError(
            f"{mask}: has no foreground at {size} x {size} pixels, as the network sees it; white is foreground"
        )
    if details.labels.all():
        tqdm.write(f"{mask}: is all foreground, so the network saw no background to go by", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    if args.submasks:
        _save(_fitted(color_labels(details.labels), result.size, Image.Resampling.NEAREST), _beside(target, "submasks"))
    if args.compare:
        _save(_sheet(result, details), _beside(target, "compare"))
    _save(result, target)


def _sheet(result: Image.Image, details: Details) -> Image.Image:
    """All stages side by side, made small; the first three are the network's, at its size."""
    stages = details.composite, color_labels(details.labels), details.coarse
    row = [_fitted(stage, result.size, Image.Resampling.NEAREST) for stage in stages]
    row.append(_fitted(np.asarray(result), result.size, Image.Resampling.BICUBIC))
    headings = ["composite", "submasks", "coarse", "refined"]
    return Image.fromarray(image_sheet([[np.asarray(image) for image in row]], headings))


def _fitted(image: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """An image in the shape of another, made small."""
    scale = min(1.0, _SHEET / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return Image.fromarray(image).convert("RGB").resize(small, resample)


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f"{target.stem}-{what}.png")


def _save(image: Image.Image, path: Path) -> None:
    """Writes an image with its colour profile and metadata, completely or not at all."""
    format_, options = FORMATS[path.suffix.lower()]
    if image.mode == "RGBA" and format_ in ("JPEG", "BMP"):
        raise UserError(f"{path}: {format_} keeps no alpha channel; take .png, .webp or .tif")
    kept = {name: image.info[name] for name in ("icc_profile", "exif", "dpi", "xmp") if image.info.get(name)}
    with whole_file(path) as file:
        try:
            image.save(file, format=format_, **kept, **options)
        except (ValueError, struct.error) as error:
            raise UserError(f"{path}: cannot be written as {format_} ({error}); take .png or .tif") from None
