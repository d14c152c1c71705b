"""The command ``frih``: harmonizes your own images.

    frih harmonize IMAGE MASK -o OUT [--weights runs/frih]

IMAGE and MASK are two files, two folders, or two quoted patterns such as "photos/*.jpg". In a folder a mask has the name of its
image, with any suffix; as in data sets, X_M.png is the mask of X_M_K.jpg too. OUT is a file, or a folder; files in it get the
images' names. If some images cannot be harmonized, the others still are; the failures are listed at the end, and the exit
status is 2.
"""

import argparse
import os
import platform
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from frih import __version__
from frih.common.drawing import color_labels, image_sheet
from frih.common.errors import USER_ERROR, UserError, describe, run_command
from frih.common.paths import at_home, path_argument
from frih.common.progress import progress_bar
from frih.common.wording import counted
from frih.data.images import HALF
from frih.harmonizing.outputs import FORMATS, beside, check_alpha, check_outputs, save, target
from frih.harmonizing.own_images import is_seen
from frih.harmonizing.pairs import find_images, find_pairs
from frih.harmonizing.video import CRF, SECONDS, is_video
from frih.harmonizing.video_command import harmonize_video_file

if TYPE_CHECKING:  # torch takes seconds; a mistake on the command line is told before
    from frih.harmonizing.harmonizer import Details, Harmonizer

_SHEET = 512
"""The longer side of an image on a sheet."""


def main() -> None:
    """The entry point of the installed command."""
    parser = argparse.ArgumentParser("frih", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=describe_version())
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
        default=os.environ.get("FRIH_WEIGHTS"),
        help="a run's folder, a file or a folder of weights, or hf://USER/NAME; default: the environment variable "
        "FRIH_WEIGHTS, or else the weights that come with the software",
    )
    add_arguments(harmonize)
    run_command(lambda: harmonize_files(parse(parser)))


def describe_version() -> str:
    """The versions that a report of a fault needs."""
    try:
        torch = f"PyTorch {version('torch')}"  # much faster than its import
    except PackageNotFoundError:
        torch = "no PyTorch"
    return f"frih {__version__}, Python {platform.python_version()}, {torch}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that ``frih harmonize`` and ``scripts/harmonize.py`` share."""
    parser.add_argument("image", metavar="IMAGE", help="an image, a folder, a quoted pattern, or a video")
    parser.add_argument("mask", metavar="MASK", help="its mask, white = foreground, or a cut-out foreground with alpha")
    parser.add_argument("-o", "--out", type=path_argument, required=True, metavar="OUT", help="a file or a folder")
    parser.add_argument("--strength", type=float, help="share of the change, 0 to 1 (default: the weights' own, or 1)")
    parser.add_argument("--size", type=int, metavar="S", help="side at which the network sees the image, 128, 256, ...")
    parser.add_argument("--invert-mask", action="store_true", help="the masks are black where the foreground is")
    parser.add_argument("--suffix", choices=sorted(FORMATS), help="of files in a folder; default: the image's own")
    parser.add_argument("--submasks", action="store_true", help="write OUT-submasks.png as well")
    parser.add_argument("--compare", action="store_true", help="write OUT-compare.png, a sheet of all stages, as well")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist; they are kept otherwise")
    parser.add_argument(
        "--smooth", type=float, metavar="S", help=f"of a video: seconds of averaging (default: {SECONDS})"
    )
    parser.add_argument("--crf", type=float, help=f"of a video: quality, 0 (best) to 51 (default: {CRF:g})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, xpu or mps (default: auto)")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the command line. Too many files are most likely a pattern that the shell has expanded."""
    args, rest = parser.parse_known_args()
    if any(one.startswith("-") for one in rest):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parser.error(
            f"one IMAGE and one MASK, not {2 + len(rest)} files; give two folders, or put patterns in quotes, so that "
            'the shell leaves them alone: "photos/*.jpg" "masks/*.png"'
        )
    return args


def harmonize_files(args: argparse.Namespace) -> int:
    """Harmonizes the images of a command line and returns the exit status."""
    if args.strength is not None and not 0 <= args.strength <= 1:
        raise UserError(f"--strength: must be from 0 (no change) to 1 (the network's), not {args.strength:g}")
    args.image, args.mask = at_home(args.image), at_home(args.mask)
    if is_video(args.image):
        return harmonize_video_file(args)
    pairs, failures = find_pairs(args.image, args.mask)
    count = len(pairs) + len(failures)
    sheets = [name for name in ("submasks", "compare") if getattr(args, name)]
    results = {image: target(image, args.out, args.suffix, count) for image in pairs}
    outputs = {image: [result, *(beside(result, sheet) for sheet in sheets)] for image, result in results.items()}
    if args.out.is_dir() and Path(args.mask).is_dir() and args.out.samefile(args.mask):
        raise UserError(
            f"-o {args.out}: is the folder of the masks, and results would pass for masks; give another place"
        )
    inputs = [path for name in (args.image, args.mask) for path in find_images(name) or [Path(name)]]
    check_outputs(outputs, inputs, args.overwrite)

    from frih.common.devices import choose_device
    from frih.harmonizing.harmonizer import PRETRAINED, Harmonizer

    harmonizer = Harmonizer.load(args.weights or PRETRAINED, choose_device(args.device, "--device"), args.size)
    done = kept = 0
    for image, mask in progress_bar(pairs.items(), unit="image", disable=count == 1):
        missing = [path for path in outputs[image] if args.overwrite or not path.exists()]
        kept += len(outputs[image]) - len(missing)
        if not missing:
            continue
        try:
            _harmonize_file(harmonizer, image, mask, results[image], missing, args)
            done += 1
        except UserError as error:
            failures.append(str(error))
        except Exception as error:  # the other images do not depend on it
            named = isinstance(error, OSError) and error.filename
            failures.append(
                describe(error) if named else f"{image}: cannot be harmonized ({type(error).__name__}: {error})"
            )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    already = f" ({counted(kept, 'file')} kept, there already; --overwrite replaces them)" if kept else ""
    print(f"{done} of {count} harmonized, in {args.out}{already}")
    return USER_ERROR if failures else 0


def _harmonize_file(
    harmonizer: "Harmonizer", image: Path, mask: Path, result: Path, missing: Collection[Path], args: argparse.Namespace
) -> None:
    """Harmonizes one file and writes its result and sheets, as far as they are missing."""
    if result in missing:
        check_alpha(image, result)
    harmonized, details = harmonizer(image, mask, args.strength, return_details=True, invert_mask=args.invert_mask)
    assert isinstance(harmonized, Image.Image)  # as for every file
    _check_seen(harmonized, details.labels, image, mask)
    if details.notes:
        tqdm.write(f"note: {image}: {'; '.join(details.notes)}", file=sys.stderr)
    result.parent.mkdir(parents=True, exist_ok=True)
    if result in missing:
        save(harmonized, result)
    if (path := beside(result, "submasks")) in missing:
        save(_fitted(color_labels(details.labels), harmonized.size, Image.Resampling.NEAREST), path)
    if (path := beside(result, "compare")) in missing:
        save(_sheet(harmonized, details, harmonizer.model.refines), path)


def _check_seen(image: Image.Image, labels: np.ndarray, name: Path, mask: Path) -> None:
    """Checks that the network saw a foreground, and says so if it saw no background.

    Raises:
        UserError: it saw none.
    """
    size = len(labels)
    if not labels.any():
        raise UserError(
            f"{mask}: has no foreground at {size} x {size} pixels, as the network sees it; white is foreground, and with "
            "--invert-mask black is"
        )
    if labels.all():
        tqdm.write(f"{mask}: is all foreground, so the network saw no background to go by", file=sys.stderr)
    if image.mode != "RGBA":
        return
    seen = Image.fromarray(is_seen(np.asarray(image.getchannel("A")))).convert("L")
    share = np.asarray(seen.resize((size, size), Image.Resampling.BILINEAR))
    if not share[labels > 0].any():
        raise UserError(
            f"{name}: is less than half opaque wherever its mask is white, so there is no foreground to see"
        )
    border = np.asarray(Image.fromarray(labels).filter(ImageFilter.MaxFilter(5))) > 0  # where a cut-out's alpha is soft
    if share.min() < HALF and (share[~border] < HALF).all():
        tqdm.write(f"{name}: its background is transparent, so the network saw none to go by", file=sys.stderr)


def _sheet(result: Image.Image, details: "Details", refines: bool) -> Image.Image:
    """All stages side by side, made small; all but the last are the network's, at its size.

    ``refines``: there is a second stage, so that submasks and the coarse image are worth a look.
    """
    stages: tuple[np.ndarray, ...] = details.composite, np.uint8(255) * (details.labels > 0)
    headings = ["composite", "mask", "result"]
    if refines:
        stages = details.composite, color_labels(details.labels), details.coarse
        headings = ["composite", "submasks", "coarse", "refined"]
    row = [_fitted(stage, result.size, Image.Resampling.NEAREST) for stage in stages]
    row.append(_fitted(np.asarray(result), result.size, Image.Resampling.BICUBIC))
    return Image.fromarray(image_sheet([[np.asarray(image) for image in row]], headings))


def _fitted(image: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
    """An image in the shape of another, made small."""
    scale = min(1.0, _SHEET / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return Image.fromarray(image).convert("RGB").resize(small, resample)


if __name__ == "__main__":
    main()
