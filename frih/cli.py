"""The command ``frih``: harmonizes your own images and videos, and pastes cut-outs into others."""

import argparse
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from frih import __version__
from frih.common.errors import UserError, run_command
from frih.common.paths import at_home, path_argument
from frih.harmonizing.outputs import FORMATS
from frih.harmonizing.pasting import Coordinate
from frih.harmonizing.stills import harmonize_stills, paste_still
from frih.harmonizing.video import CRF, SECONDS, is_video
from frih.harmonizing.video_command import harmonize_video_file

_FRIH = """\
Image harmonization: a foreground gets the colours of its new surroundings.

    frih harmonize composite.png mask.png -o result.png
    frih harmonize video.mp4 masks -o result.mp4
    frih paste cutout.png background.jpg -o composite.png --harmonize
"""
_HARMONIZE = """\
Harmonizes images and videos.

    frih harmonize composite.png mask.png -o result.png
    frih harmonize composites masks -o results --compare
    frih harmonize video.mp4 masks -o result.mp4

IMAGE and MASK are two files, two folders, or two quoted patterns such as
"photos/*.jpg". In a folder a mask has the name of its image, with any suffix,
or NAME-mask or NAME_mask; as in data sets, X_M.png is the mask of X_M_K.jpg,
too. A mask of another size but the same shape is resized.

If some images cannot be harmonized, the others still are; the failures are
listed at the end, and the exit status is 2.
"""
_PASTE = """\
Pastes a cut-out foreground into another image, and writes the composite OUT
and its mask OUT-mask.png.

    frih paste cutout.png background.jpg -o composite.png
    frih paste photo.jpg background.jpg --mask mask.png -o composite.png
    frih paste cutout.png background.jpg -o composite.png \\
        --at 50%,70% --scale 0.4 --harmonize --compare

CUTOUT has a transparent background, or --mask tells its foreground. --at and
--scale place the foreground: all that is at least half opaque.
"""


def main() -> None:
    """The entry point of the installed command."""
    parser = argparse.ArgumentParser(
        "frih",
        usage="frih [-h] [--version] COMMAND ...",
        description=_FRIH,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=describe_version())
    commands = parser.add_subparsers(
        dest="command", required=True, title="commands", metavar="COMMAND ...", prog="frih"
    )
    for name, summary, text, add, work in (
        ("harmonize", "harmonize your own images and videos", _HARMONIZE, add_arguments, harmonize_files),
        ("paste", "paste a cut-out into another image", _PASTE, add_paste_arguments, paste_still),
    ):
        command = commands.add_parser(
            name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        add(command)
        command.set_defaults(work=work)
    run_command(lambda: _run(parse(parser, _joined(sys.argv[1:]))))


def _run(args: argparse.Namespace) -> int:
    status: int = args.work(args)
    return status


def describe_version() -> str:
    """The versions that a report of a fault needs."""
    try:
        torch = f"PyTorch {version('torch')}"  # much faster than its import
    except PackageNotFoundError:
        torch = "no PyTorch"
    return f"frih {__version__}, Python {platform.python_version()}, {torch}"


def add_arguments(parser: argparse.ArgumentParser, weights: bool = True) -> None:
    """Adds the arguments that ``frih harmonize`` and ``scripts/harmonize.py`` share.

    ``weights``: with the option ``--weights``.
    """
    parser.add_argument("image", metavar="IMAGE", help="an image, a folder, a quoted pattern, or a video")
    parser.add_argument("mask", metavar="MASK", help="its mask, white = foreground, or a cut-out foreground with alpha")
    files = _add_files(parser)
    files.add_argument("--compare", action="store_true", help="write OUT-compare.png as well: before and after")
    files.add_argument("--submasks", action="store_true", help="write OUT-submasks.png as well")
    files.add_argument("--suffix", choices=sorted(FORMATS), help="of files in a folder; default: the image's own")
    masks = parser.add_argument_group("masks")
    masks.add_argument("--invert-mask", action="store_true", help="the masks are black where the foreground is")
    _add_edges(masks)
    videos = parser.add_argument_group("videos")
    videos.add_argument("--smooth", type=float, metavar="S", help=f"seconds of averaging (default: {SECONDS})")
    videos.add_argument("--crf", type=float, metavar="N", help=f"quality, 0 (best) to 51 (default: {CRF:g})")
    _add_network(parser.add_argument_group("network"), weights)


def add_paste_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``frih paste``."""
    parser.add_argument("cutout", type=path_argument, metavar="CUTOUT", help="the image of the foreground")
    parser.add_argument("background", type=path_argument, metavar="BACKGROUND", help="the image to paste it into")
    _add_files(parser)
    place = parser.add_argument_group("place")
    place.add_argument(
        "--at",
        type=point,
        metavar="X,Y",
        help="the foreground's centre, from the background's top left corner, in pixels, or in percent of its size "
        "as 50%%,70%% (default: 50%%,50%%)",
    )
    place.add_argument(
        "--scale",
        type=float,
        metavar="S",
        help="size of the cut-out, 1 = its own (default: 1, or less if the foreground would not fit)",
    )
    masks = parser.add_argument_group("mask")
    masks.add_argument("--mask", type=path_argument, metavar="MASK", help="of the cut-out, white = foreground")
    masks.add_argument("--invert-mask", action="store_true", help="MASK is black where the foreground is")
    _add_edges(masks)
    network = parser.add_argument_group("network, with --harmonize")
    network.add_argument("--harmonize", action="store_true", help="write the result, OUT-harmonized, as well")
    network.add_argument("--compare", action="store_true", help="write OUT-compare.png as well: before and after")
    _add_network(network, weights=True)


def _add_files(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    files = parser.add_argument_group("files")
    files.add_argument("-o", "--out", type=path_argument, required=True, metavar="OUT", help="a file or a folder")
    files.add_argument("--overwrite", action="store_true", help="replace files that exist; they are kept otherwise")
    return files


def _add_edges(masks: "argparse._ArgumentGroup") -> None:
    masks.add_argument("--shrink", type=int, default=0, metavar="N", help="move the mask's edge N pixels inwards")
    masks.add_argument(
        "--feather", type=int, default=0, metavar="N", help="fade out over N pixels within the mask's edge"
    )


def _add_network(network: "argparse._ArgumentGroup", weights: bool) -> None:
    if weights:
        network.add_argument(
            "-w",
            "--weights",
            metavar="WEIGHTS",
            help="a run's folder, a file or a folder of weights, or hf://USER/NAME; default: the environment variable "
            "FRIH_WEIGHTS, or else the weights that come with the software",
        )
    network.add_argument(
        "--strength", type=float, metavar="SHARE", help="of the change, 0 to 1 (default: the weights' own, or 1)"
    )
    network.add_argument("--size", type=int, help="side at which the network sees the image: 128, 256, 384, ...")
    network.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, xpu or mps (default: auto)")


def point(text: str) -> tuple[Coordinate, Coordinate]:
    """The ``type`` of ``--at``: "X,Y", each in pixels or, with "%", in percent.

    Raises:
        ArgumentTypeError: it is no such place.
    """
    numbers = re.fullmatch(r"\s*({0})(%?)\s*,\s*({0})(%?)\s*".format(r"[-+]?(?:\d+\.?\d*|\.\d+)"), text)
    if not numbers:
        raise argparse.ArgumentTypeError(f"must be X,Y, as 400,300 or 50%,70%, not {text!r}")
    x, in_percent, y, too = numbers.groups()
    return Coordinate(float(x), bool(in_percent)), Coordinate(float(y), bool(too))


def parse(parser: argparse.ArgumentParser, words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line. Too many files are most likely a pattern that the shell has expanded."""
    args, rest = parser.parse_known_args(words)
    if any(one.startswith("-") for one in rest) or (rest and "cutout" in args):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        parser.error(
            f"one IMAGE and one MASK, not {2 + len(rest)} files; give two folders, or put patterns in quotes, so that "
            'the shell leaves them alone: "photos/*.jpg" "masks/*.png"'
        )
    return args


def harmonize_files(args: argparse.Namespace) -> int:
    """Harmonizes what a command line names, and returns the exit status."""
    args.image, args.mask = at_home(args.image), at_home(args.mask)
    if is_video(args.image):
        return harmonize_video_file(args)
    for name in ("smooth", "crf"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name}: is for videos, and {args.image} is none; leave it out")
    return harmonize_stills(args)


def _joined(words: Sequence[str]) -> list[str]:
    """``--at -10,20`` as ``--at=-10,20``; argparse would take the value for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--at" and re.match(r"-[\d.]", word):
            joined[-1] = f"--at={word}"
        else:
            joined.append(word)
    return joined


if __name__ == "__main__":
    main()
