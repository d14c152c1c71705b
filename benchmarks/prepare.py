"""Measures what a prepared copy saves and changes: loading time, bytes, and metrics, for each size and format.

    python benchmarks/prepare.py [--roots ROOT=data/sample ...] [--images N] [--sides 300 3000]

Composites of the ROOTs are enlarged to sides from 300 to 3000 pixels. Finer detail is added, as strong as the finest of the
image, and noise; masks get grey borders of a few pixels. They are stored as data sets are: JPEG of quality 92 with subsampled
colours, composite and real image apart. Then each is prepared in every way, and loaded as in evaluation: composite, mask and
real image, at 256 x 256. The time is the least of several rounds on one core; the ways take turns. Metrics are of protocol
"idih", of the input composite and of a good result. That is the input without three quarters of its foreground's error; the
same change of colours is applied to original and prepared files.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image
from scipy.ndimage import gaussian_filter

from frih.common.errors import UserError, run_command
from frih.data.iharmony4 import Item, read_split
from frih.data.images import open_mask, open_rgb
from frih.data.transforms import FILTER, render, whole
from frih.evaluation import evenly
from frih.metrics import Scores, score
from frih.tools.datasets.shrinking import encode, shrink

ORIGINAL = "original"
FORMATS: dict[str, Callable[[Image.Image], bytes]] = {
    **{f"JPEG {quality}": partial(encode, format="jpeg", quality=quality) for quality in (90, 95, 98, 100)},
    "WebP": partial(encode, format="webp"),
    "PNG": partial(encode, format="png"),
}
LARGE = 1024
GRAIN, GREY_BORDER = 1.5, 3.0
REMEDY, SMOOTHING = 0.75, 2.0


class Triple(NamedTuple):
    """The files of one composite."""

    composite: Path
    mask: Path
    real: Path


class Loaded(NamedTuple):
    """One composite as evaluation sees it, in 0..255, with its mask in 0..1."""

    composite: np.ndarray
    mask: np.ndarray
    real: np.ndarray


def main() -> int:
    """Prints a table for small and one for large images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--roots", type=Path, nargs="+", default=[Path("data/sample")], metavar="ROOT")
    parser.add_argument("--images", type=int, default=24, metavar="N", help="composites, evenly spaced (default: 24)")
    parser.add_argument("--sides", type=int, nargs=2, default=(300, 3000), metavar=("LEAST", "MOST"))
    parser.add_argument("--rounds", type=int, default=3, help="times each is loaded (default: 3)")
    args = parser.parse_args()
    if min(args.images, args.rounds, *args.sides) < 1:
        raise UserError("--images, --rounds and --sides: must be 1 or more")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    print(
        f"python {' '.join(sys.argv)}   commit {commit.stdout.strip() or 'unknown'}, Pillow {PIL.__version__}, ", end=""
    )
    print(f"{platform.processor() or platform.machine()}, one core")
    with tempfile.TemporaryDirectory(prefix="frih-prepare-") as folder:
        originals = make_originals(choose(args.roots, args.images), args.sides, Path(folder))
        ways = {ORIGINAL: originals}
        for size in ("256", "512", "1024"):
            for name, write in FORMATS.items():
                ways[f"{size} {name}"] = [prepare(one, size, write, Path(folder, size, name)) for one in originals]
            if size != "256":
                twice = partial(prepare, size=size, write=FORMATS["PNG"], resampling=FILTER)
                ways[f"{size} PNG, bilinear"] = [twice(one, folder=Path(folder, size, "twice")) for one in originals]
        seconds = measure(ways, args.rounds)
        sides = [max(open_rgb(triple.composite).size) for triple in originals]
        small, large = ([i for i, side in enumerate(sides) if (side > LARGE) == is_large] for is_large in (False, True))
        for title, chosen in ((f"up to {LARGE} pixels", small), (f"more than {LARGE} pixels", large)):
            if chosen:
                print_table(f"{len(chosen)} composites of {title} (longer side)", ways, seconds, chosen)
    return 0


def choose(roots: Sequence[Path], count: int) -> list[Item]:
    """Composites of the test splits, from the roots in turn."""
    items: list[Item] = []
    for place, root in enumerate(roots):
        found = read_split(root, "test").items
        items += [found[i] for i in evenly(len(found), len(range(place, count, len(roots))))]
    return [item for place in range(len(roots)) for item in items[place :: len(roots)]]


def make_originals(items: Sequence[Item], sides: tuple[int, int], folder: Path) -> list[Triple]:
    """Enlarges composites to sides in a geometric series, and stores them."""
    triples = []
    for number, (item, side) in enumerate(zip(items, np.geomspace(*sides, len(items)), strict=True)):
        composite, mask, real = open_rgb(item.composite), open_mask(item.mask), open_rgb(item.real)
        scale = side / max(real.size)
        size = round(real.width * scale), round(real.height * scale)
        detail = finer_detail(np.asarray(real, np.float32), size, np.random.default_rng(number))
        triple = Triple(*(folder / f"{number}{part}" for part in (".composite.jpg", ".mask.png", ".real.jpg")))
        for image, path in ((composite, triple.composite), (real, triple.real)):
            large = np.clip(resize(np.asarray(image, np.float32), size) + detail, 0, 255)
            Image.fromarray(np.rint(large).astype(np.uint8)).save(path, quality=92)
        soft = resize(np.asarray(mask, np.float32), size) / 255
        steep = max(1.0, scale / GREY_BORDER)
        edge = np.clip((soft - 0.5) * steep + 0.5, 0, 1)
        Image.fromarray(np.rint(255 * edge).astype(np.uint8)).save(triple.mask)
        triples.append(triple)
    return triples


def finer_detail(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Lightness to add to an enlarged image, (height, width, 1): finer octaves, and noise.

    As in natural images, each new octave is as strong, at each place, as the last octave of the image.
    """
    height, width = image.shape[:2]
    last = image - resize(resize(image, (max(1, width // 2), max(1, height // 2))), (width, height))
    strength = resize(gaussian_filter(np.sqrt(np.square(last).mean(axis=2)), 3), size)
    detail = np.zeros(size[::-1], np.float32)
    octave = 2
    while octave * width < 2 * size[0]:
        grid = min(octave * width, size[0]), min(octave * height, size[1])
        noise = rng.standard_normal(grid[::-1], np.float32)
        band = noise - gaussian_filter(noise, 1)
        detail += strength * resize(band / band.std(), size)
        octave *= 2
    return (detail + GRAIN * rng.standard_normal(detail.shape, np.float32))[..., None]


def resize(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W) or (H, W, 3) float by the bicubic filter."""
    if array.ndim == 3:
        return np.dstack([resize(channel, size) for channel in np.moveaxis(array, 2, 0)])
    return np.asarray(Image.fromarray(array).resize(size, Image.Resampling.BICUBIC))


def prepare(
    triple: Triple,
    size: str,
    write: Callable[[Image.Image], bytes],
    folder: Path,
    resampling: Image.Resampling | None = None,
) -> Triple:
    """Stores a composite as prepare.py does, or with another filter; small enough files are copied."""
    folder.mkdir(parents=True, exist_ok=True)
    new = Triple(*(folder / path.name for path in triple))
    for source, path in zip(triple, new, strict=True):
        is_mask = source == triple.mask
        image = open_mask(source) if is_mask else open_rgb(source)
        small = shrink(image, size)
        if resampling is not None and small is not image:
            small = image.resize(small.size, resampling)
        path.write_bytes(source.read_bytes() if small is image else encode(small, "png") if is_mask else write(small))
    return new


def measure(ways: dict[str, list[Triple]], rounds: int) -> dict[str, list[float]]:
    """Seconds to load each composite in each way."""
    times = {way: [float("inf")] * len(triples) for way, triples in ways.items()}
    for _ in range(rounds):
        for number in range(len(ways[ORIGINAL])):
            for way, triples in ways.items():
                start = time.perf_counter()
                load(triples[number])
                times[way][number] = min(times[way][number], time.perf_counter() - start)
    return times


def load(triple: Triple) -> Loaded:
    """Loads a composite as evaluation does."""
    composite, mask, real = open_rgb(triple.composite), open_mask(triple.mask), open_rgb(triple.real)
    seen = [render(image, whole(image), 256).astype(np.float64) for image in (composite, mask, real)]
    return Loaded(seen[0], seen[1] / 255, seen[2])


def print_table(title: str, ways: dict[str, list[Triple]], seconds: dict[str, list[float]], chosen: list[int]) -> None:
    """Prints a line for each way."""
    originals = [load(ways[ORIGINAL][i]) for i in chosen]
    reference = [score_both(original, original) for original in originals]
    print(f"\n{title}; change of the metrics against original files: mean (largest)")
    print(f"{'':20}{'KB/image':>11}{'KB/mask':>9}{'loaded/s':>10}", end="")
    print("".join(f"{f'{kind} {name}':>18}" for kind in ("input", "result") for name in ("MSE", "fMSE", "PSNR")))
    for way, stored in ways.items():
        triples = [stored[i] for i in chosen]
        images = [path.stat().st_size / 1e3 for triple in triples for path in (triple.composite, triple.real)]
        masks = [triple.mask.stat().st_size / 1e3 for triple in triples]
        rate = len(chosen) / sum(seconds[way][i] for i in chosen)
        print(f"{way:20}{statistics.mean(images):11.1f}{statistics.mean(masks):9.1f}{rate:10.1f}", end="")
        scores = [score_both(original, load(triple)) for original, triple in zip(originals, triples, strict=True)]
        for kind in range(2):
            for metric in ("mse", "fmse", "psnr"):
                old = [both[kind][metric] for both in reference]
                changes = [both[kind][metric] - one for both, one in zip(scores, old, strict=True)]
                change = f"{statistics.mean(changes):+.3f} ({max(changes, key=abs):+.3f})"
                print(f"{f'{statistics.mean(old):.2f}' if way == ORIGINAL else change:>18}", end="")
        print()


def score_both(original: Loaded, seen: Loaded) -> tuple[Scores, Scores]:
    """Scores of the input composite and of a good result; the change of colours is that of the original files."""
    error = (original.real - original.composite) * original.mask[..., None]
    change = REMEDY * gaussian_filter(error, (SMOOTHING, SMOOTHING, 0))
    good = seen.composite + change * original.mask[..., None]
    return score(seen.composite, seen.real, seen.mask), score(good, seen.real, seen.mask)


if __name__ == "__main__":
    run_command(main)
