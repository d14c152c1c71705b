"""How much a network's change flickers from frame to frame, and whether smoothing smears what it must not.

    python benchmarks/video.py [--run RUN] [--frames N]

Sequences are made of scikit-image's photos at the network's size: an outlined object pasted into another photo, 24 frames a
second, with the noise of a camera (a standard deviation of 2 levels). In the middle of some, a cut or a change of light
happens. Ways: none; "blind", an average over the same time whatever frames show; ours (frih/harmonizing/video_smoothing.py).

"Flicker" is the mean difference of the change of a foreground pixel from one frame to the next, in levels, the middle left out.
A moving object's pixels are followed. "After" is the mean distance, over the four frames from the middle on, from the change
that the scene settles at: the mean over its last half.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from frih.common.errors import run_command
from frih.common.progress import progress_bar
from frih.data.images import read_mask, read_rgb
from frih.harmonizing.harmonizer import PRETRAINED, Harmonizer
from frih.harmonizing.upsampling import Change
from frih.harmonizing.video import SECONDS
from frih.harmonizing.video_smoothing import Smoother
from frih.tools.composites.sample import make_sample

RATE, NOISE = 24, 2.0
OBJECTS = ("coffee", "cup", "astronaut", "motorcycle"), ("chelsea", "cat", "coffee", "rocket")
"""A photo, its object, the photo it is pasted into, and the one after a cut."""
KINDS = {
    "still": "nothing moves",
    "pan": "the background moves by 2 pixels a frame",
    "moving": "the object moves by 1 pixel a frame",
    "cut": "a cut to another background, with the object still",
    "light": "light goes out by a third at once",
    "fade": "light goes out by a third within a second",
}


class Seen(NamedTuple):
    """What the network made of a frame."""

    change: Change
    view: np.ndarray
    labels: np.ndarray
    shift: int
    """Columns by which the object has moved."""


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", metavar="RUN", default=PRETRAINED, help="a trained network (default: the shipped weights)"
    )
    parser.add_argument("--frames", type=int, default=48, metavar="N", help="of a sequence (default: 48)")
    args = parser.parse_args()
    torch.set_num_threads(2)
    harmonizer = Harmonizer.load(args.run, "cpu")
    ways: dict[str, Callable[[], Callable[..., Change]]] = {
        "none": lambda: Smoother(0),
        "blind": Blind,
        "ours": lambda: Smoother(SECONDS),
    }
    print(f"{'':10}" + "".join(f"{way + ': flicker':>16}{'after':>8}" for way in ways))
    with tempfile.TemporaryDirectory() as folder:
        root = make_sample(Path(folder, "sample"), size=10_000, train_variants=1, test_variants=1, progress=False).root
        for kind in KINDS:
            rows = []
            for number, names in enumerate(OBJECTS):
                frames = sequence(root, names, kind, args.frames, harmonizer.size, seed=number)
                seen = [
                    look(harmonizer, *frame)
                    for frame in progress_bar(frames, total=args.frames, desc=kind, leave=False)
                ]
                rows.append([measure(seen, make(), has_event=kind in ("cut", "light")) for make in ways.values()])
            means = np.mean(rows, axis=0)
            afters = ["" if np.isnan(after) else f"{after:.2f}" for _, after in means]
            cells = zip(means[:, 0], afters, strict=True)
            print(f"{kind:10}" + "".join(f"{flicker:16.3f}{after:>8}" for flicker, after in cells))
    return 0


class Blind:
    """The mean over past frames, whatever they show."""

    def __init__(self) -> None:
        self._change: np.ndarray | None = None

    def __call__(self, change: Change, view: np.ndarray, labels: np.ndarray, time: float) -> Change:
        """As :class:`Smoother`; slopes stay."""
        keep = 0 if self._change is None else np.exp(-1 / RATE / SECONDS)
        self._change = change.change + (keep * (self._change - change.change) if keep else 0)
        return change._replace(change=self._change)


def sequence(
    root: Path, names: tuple[str, str, str, str], kind: str, frames: int, size: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Frames (size, size, 3) uint8, their masks (size, size) uint8, and the object's shift in columns."""
    photo, part, *places = names
    images, masks = root / "Sample/real_images", root / "Sample/masks"
    real, mask = read_rgb(images / f"{photo}.jpg"), read_mask(masks / f"{photo}_{part}.png")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    scale = size / 2 / max(box[2] - box[0], box[3] - box[1])
    small = round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale)
    thing, cover = (
        np.asarray(Image.fromarray(one).resize(small, Image.Resampling.BOX, box=box), np.float32)
        for one in (real, mask)
    )
    height, width = cover.shape
    backgrounds = [background(images / f"{place}.jpg", size + 2 * frames, size) for place in places]
    rng = np.random.default_rng(seed)
    for number in range(frames):
        late = number >= frames // 2
        start = 2 * number if kind == "pan" else frames
        shift = number if kind == "moving" else 0
        frame = backgrounds[kind == "cut" and late][:, start : start + size].copy()
        whole = np.zeros((size, size), np.float32)
        top, left = (size - height) // 2, (size - width) // 2 - (frames // 2 if kind == "moving" else 0) + shift
        whole[top : top + height, left : left + width] = cover
        place = frame[top : top + height, left : left + width]
        place += (cover / 255)[..., None] * (thing - place)
        light = {"light": 0.67 if late else 1, "fade": 1 - 0.33 * np.clip((number - frames / 4) / RATE, 0, 1)}.get(
            kind, 1
        )
        frame = np.rint(frame * light + rng.normal(0, NOISE, frame.shape)).clip(0, 255)
        yield frame.astype(np.uint8), whole.astype(np.uint8), shift


def background(path: Path, width: int, height: int) -> np.ndarray:
    """The middle of a photo, (height, width, 3) float32."""
    with Image.open(path) as image:
        scale = max(width / image.width, height / image.height)
        size = round(image.width * scale), round(image.height * scale)
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def look(harmonizer: Harmonizer, frame: np.ndarray, mask: np.ndarray, shift: int) -> Seen:
    """The network's view of a frame."""
    details, change = harmonizer.look(frame, mask)
    assert change is not None
    return Seen(change, details.composite, details.labels, shift)


def measure(seen: list[Seen], smoother: Callable[..., Change], has_event: bool) -> tuple[float, float]:
    """Flicker, and the distance after the middle from what the scene settles at; both in levels."""
    made = [smoother(one.change, one.view, one.labels, number / RATE).change for number, one in enumerate(seen)]
    made = [255 * np.roll(change, -one.shift, axis=1) for change, one in zip(made, seen, strict=True)]
    own = [255 * np.roll(one.change.change, -one.shift, axis=1) for one in seen]
    inside = np.logical_and.reduce([np.roll(one.labels, -one.shift, axis=1) > 0 for one in seen])
    middle = len(seen) // 2
    steps = [
        np.abs(made[number] - made[number - 1])[inside].mean()
        for number in range(1, len(made))
        if not (has_event and number == middle)
    ]
    settled = np.mean(own[-(middle // 2) :], axis=0)
    after = np.mean([np.abs(change - settled)[inside].mean() for change in made[middle : middle + 4]])
    return float(np.mean(steps)), float(after) if has_event else np.nan


if __name__ == "__main__":
    run_command(main)
