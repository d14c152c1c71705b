"""Videos: each frame is harmonized, and the change is smoothed over time (:mod:`frih.harmonizing.video_smoothing`)."""

import re
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from frih.common.errors import UserError, need
from frih.common.files import whole_path
from frih.common.progress import progress_bar
from frih.common.wording import counted
from frih.data.images import HALF, as_grey
from frih.harmonizing.mask_edges import Mask, fitted
from frih.harmonizing.own_images import check_sizes, check_strength, read_mask
from frih.harmonizing.pairs import find_images

if TYPE_CHECKING:
    from frih.harmonizing.harmonizer import Harmonizer

SECONDS = 0.5
"""Changes are averaged over about this time."""
CRF = 16.0
"""Quality of the result (x264's constant rate factor). At 16, the loss is hard to see."""
WRITTEN = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's formats of the videos that are written, by suffix."""
_READ = *WRITTEN, ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".3gp"
_GREY = 16
"""Codecs do not keep black and white: in the video of a mask, values this near to them stand for them."""


class Done(NamedTuple):
    """What was made of a video."""

    frames: int
    empty: int
    """Frames in which the network saw no foreground; they are as they were."""
    notes: Counter[str]
    """Notes on frames (:mod:`frih.harmonizing.kinds`), with the number of frames."""


def is_video(name: str | Path) -> bool:
    """Whether a name is that of a video, by its suffix."""
    return Path(name).suffix.lower() in _READ and not Path(name).is_dir()


def video_target(video: Path, out: Path) -> Path:
    """The file for a video's result.

    Args:
        video: its file.
        out: a file or a folder, as the user names it.

    Raises:
        UserError: the format is none that is written.
    """
    if out.is_dir() or not out.suffix:
        return out / (video.name if video.suffix.lower() in WRITTEN else f"{video.stem}.mp4")
    if out.suffix.lower() not in WRITTEN:
        raise UserError(f"-o {out}: videos are written as {', '.join(WRITTEN)}; take one of these, or name a folder")
    return out


def harmonize_video(
    harmonizer: "Harmonizer",
    video: Path,
    masks: str,
    out: Path,
    *,
    strength: float | None = None,
    invert_mask: bool = False,
    seconds: float = SECONDS,
    crf: float = CRF,
) -> Done:
    """Harmonizes a video, with a progress bar. The result appears when it is complete; if stopped, there is none.

    Frames pass one at a time, so memory does not grow with the video. Outside the mask, pixels change by the encoder's loss
    alone; but videos other than of 8 bits and 4:2:0 are brought to that first, and an odd size to 4:4:4. Sound is copied.
    Times, colour range and matrix are kept; a turned video becomes upright.

    Args:
        harmonizer: the network.
        video: a file.
        masks: one for each frame, upright and of its shape: a video, or a folder or a pattern of images, in the order of the
            numbers in their names; or one image for all frames. As for images, white is foreground.
        out: the file to write, of a suffix in :data:`WRITTEN`.
        strength: share of the change, 0 to 1; by default the weights' own.
        invert_mask: black is foreground.
        seconds: the time over which the change is averaged; 0 takes each frame by itself.
        crf: quality of the result, 0 (best) to 51 (worst).

    Raises:
        UserError: a file cannot be read, or is of a kind that is not supported; a number is out of range; masks are fewer than
            frames, or of another shape; there is no foreground in any frame.
        OSError: the result cannot be written.
    """
    check_numbers(strength, seconds, crf)
    need("av", extra="video")
    from frih.harmonizing.upsampling import add_change
    from frih.harmonizing.video_colours import add_rgb_change, to_rgb
    from frih.harmonizing.video_files import VideoReader, VideoWriter, count_frames
    from frih.harmonizing.video_smoothing import Smoother

    strength = harmonizer.findings.strength if strength is None else strength
    smoother, notes, empty, number = Smoother(seconds), Counter[str](), 0, 0
    with VideoReader(video) as reader:
        total = count_frames(video)
        read = _masks(masks, total, video)
        out.parent.mkdir(parents=True, exist_ok=True)
        with closing(_fitted(read, reader.size, video)) as covers, whole_path(out) as part:
            with VideoWriter(part, out, reader, crf) as writer:
                for frame in progress_bar(reader.frames(writer.copy), total=total, unit="frame"):
                    try:
                        name, cover = next(covers)
                    except StopIteration:
                        raise UserError(
                            f"{masks}: has {counted(number, 'mask')}, and {video} has more frames (about "
                            f"{max(total, number + 1)}); give one a frame, or one image for all"
                        ) from None
                    number += 1
                    pixels = to_rgb(frame.planes, reader.colours)
                    check_sizes(pixels, cover, (str(video), name))
                    cover = 255 - cover if invert_mask else cover
                    planes, change = frame.planes, None
                    if cover.max() >= HALF:
                        details, change = harmonizer.look(pixels, cover, f"{video}, frame {number}")
                        notes.update(details.notes)
                    if change is None:
                        empty += 1
                    else:
                        change = smoother(change, details.composite, details.labels, frame.seconds)
                        harmonized = pixels.copy()
                        add_change(change, harmonized, cover, strength)
                        planes = add_rgb_change(planes, pixels, harmonized, reader.colours)
                    writer.write(frame, planes)
            if empty == number:
                raise UserError(f"{masks}: has no foreground in any frame; white is foreground (--invert-mask: black)")
    return Done(number, empty, notes)


def check_numbers(
    strength: float | None, seconds: float, crf: float, names: tuple[str, str, str] = ("strength", "seconds", "crf")
) -> None:
    """Checks the numbers that :func:`harmonize_video` takes.

    Raises:
        UserError: one is out of range. The message has its name.
    """
    if strength is not None:
        check_strength(strength, names[0])
    if not seconds >= 0:
        raise UserError(f"{names[1]}: must be 0 seconds (none) or more, not {seconds:g}")
    if not 0 <= crf <= 51:
        raise UserError(f"{names[2]}: must be from 0 (best) to 51 (worst), not {crf:g}")


_Masks = Generator[tuple[str, Mask], None, None]
"""A name for messages and a mask (H, W) for each frame."""


def _masks(masks: str, frames: int, video: Path) -> _Masks:
    """The masks as they are given. Tells if there seem to be more or fewer than frames."""
    from frih.harmonizing.video_files import count_frames

    files = find_images(masks)
    if files is None and not is_video(masks):
        one = masks, read_mask(masks)
        return (one for _ in count())
    number = count_frames(Path(masks)) if files is None else len(files)
    if number != frames:
        _note(
            f"{masks}: has {counted(number, 'mask')} for {counted(frames, 'frame')} of {video}, as far as can be told "
            f"beforehand; {'the last are not used' if number > frames else 'each frame needs one'}"
        )
    if files is None:
        return _video_of_masks(Path(masks))
    return ((str(path), read_mask(path)) for path in sorted(files, key=lambda path: natural(path.name)))


def _fitted(masks: _Masks, size: tuple[int, int], video: Path) -> _Masks:
    """Masks of a size (width, height): those of another size but the same shape are resized, which is told once."""
    told = False
    with closing(masks):
        for name, mask in masks:
            mask, resized = fitted(mask, size)
            if resized and not told:
                _note(f"{name}: {resized}, the size of {video}")
                told = True
            yield name, mask


def _video_of_masks(path: Path) -> _Masks:
    """The masks in the frames of a video."""
    from frih.harmonizing.video_colours import to_rgb
    from frih.harmonizing.video_files import VideoReader

    table = np.rint((np.arange(256.0) - _GREY).clip(0, 255 - 2 * _GREY) * 255 / (255 - 2 * _GREY)).astype(np.uint8)
    with VideoReader(path) as reader:
        for number, frame in enumerate(reader.frames(), 1):
            name = f"{path}, frame {number}"
            yield name, table[np.asarray(as_grey(Image.fromarray(to_rgb(frame.planes, reader.colours)), name))]


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _note(text: str) -> None:
    tqdm.write(f"note: {text}", file=sys.stderr)
