"""How fast the loader makes images, stage by stage, and how many processor cores the GPUs of a machine need.

    python benchmarks/loader.py [--root ROOT=data/sample] [--images N] [--rate R] [--gpus 8]

ROOT is a dataset in iHarmony4's layout, whose test split is taken; scripts/make_sample.py (or ``make quickstart``) makes
the default one. Composites are loaded as for training: random boxes, resized to 256x256, submasks computed. Large originals
are made in a temporary folder: mosaics of the dataset's photos, with detail at every pixel, as JPEG of quality 90. Times
are processor time of one core, which other work on the machine hardly changes. Files are in the system's cache.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image

from frih.common.distributed import World
from frih.common.errors import UserError, run_command
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Packed, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Item, read_split
from frih.data.images import HALF, open_mask, open_reduced, open_rgb
from frih.data.loader import GlobalBatchSampler, training_loader
from frih.data.transforms import random_view, render
from frih.submasks import extract_submasks
from frih.tools.composites.online import Restyler
from frih.tools.machine.device import command, facts

BATCH = 16
SIZES = ((1152, 864), (2000, 1500), (3000, 2000))
"""Width and height of 1, 3 and 6 megapixels."""
ORIGINALS = 6
"""Images of each size."""
TARGETS = ((150, "floor"), (200, "aim"))
"""Images a second of one core, from files of 256 pixels."""


def main() -> int:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=200, metavar="N", help="composites, evenly spaced (default: 200)")
    parser.add_argument("--rate", type=float, default=400, metavar="R", help="images/s a GPU trains on (default: 400)")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2, help="passes of which the fastest counts (default: 2)")
    args = parser.parse_args()
    if min(args.images, args.gpus, args.repeats) < 1 or args.rate <= 0:
        raise UserError("--images, --gpus, --repeats and --rate: must be above 0")
    torch.set_num_threads(1)
    items = read_split(args.root, "test").items
    items = [items[i] for i in np.linspace(0, len(items) - 1, min(args.images, len(items))).round().astype(int)]
    about = facts(torch.device("cpu"))
    print(f"command  {command()}")
    print(f"commit   {about['commit'] or 'unknown'}")
    print(f"machine  {about['cpu']}; Pillow {PIL.__version__}, torch {torch.__version__}")
    CompositeDataset(items, DataConfig(), SubmaskConfig()).warm_up()
    rates = {"256-pixel files": print_stages(items, args.repeats)}
    with tempfile.TemporaryDirectory() as folder:
        rates |= print_originals(items, Path(folder), args.repeats)
    print_cores(rates, args.rate, args.gpus)
    print_extras(items, args.repeats)
    print_start(items)
    return 0


def print_stages(items: Sequence[Item], repeats: int) -> float:
    """Prints the time of each stage and of the whole; returns images a second."""
    passes = [stages(items) for _ in range(repeats)]
    sizes = {open_rgb(item.composite).size for item in items}
    print(f"\n{len(items)} composites of {items[0].root}, {min(sizes)} to {max(sizes)} pixels: ms of a core an image")
    for name in passes[0]:
        print(f"  {name:34}{1e3 * min(times[name] for times in passes) / len(items):8.2f}")
    seconds = fastest(lambda: load_all(items, DataConfig()), repeats) / len(items)
    print(f"  {'whole, in a worker':34}{1e3 * seconds:8.2f}   {1 / seconds:.0f} images/s a core", end="")
    print("".join(f", {name} {target}: {'reached' if 1 / seconds >= target else 'missed'}" for target, name in TARGETS))
    return 1 / seconds


def stages(items: Sequence[Item]) -> dict[str, float]:
    """Seconds that all images take in each of the loader's stages."""
    times: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = function(*arguments, **options)
        times[name] += time.process_time() - start
        return result

    config, submasks = DataConfig(), SubmaskConfig().model_dump()
    samples = []
    for index, item in enumerate(items):
        mask = timed("open mask", open_mask, item.mask)
        rng = np.random.default_rng((0, 0, index))
        view, soft_mask = timed("draw box, render mask", random_view, mask, config, rng)
        reduction = view.reduction(config.size)
        composite = timed("open composite", open_reduced, item.composite, reduction)
        real = timed("open real", open_reduced, item.real, reduction)
        pair = [
            timed("render composite and real", render, one.image, view, 256, one.reduction) for one in (composite, real)
        ]
        labels = timed("find submasks (CFSFDP)", extract_submasks, pair[0], soft_mask >= HALF, **submasks)
        samples.append((*pair, soft_mask, labels, item))
    for start in range(0, len(samples), BATCH):
        packed: Packed = timed("pack", pack, samples[start : start + BATCH])
        timed("unpack on the CPU (main process)", packed.unpack, torch.device("cpu"))
    return times


def print_originals(items: Sequence[Item], folder: Path, repeats: int) -> dict[str, float]:
    """Prints images a second from large files: in full, decoded reduced, and as copies of 512 and 256 pixels."""
    rates = {}
    print(f"\noriginal-sized files, {ORIGINALS} of each size: images/s a core")
    print(
        "  megapixels   in full   data.draft   prepared 512   prepared 256   (largest change of an image's MSE and PSNR)"
    )
    for width, height in SIZES:
        originals = [make_original(folder, items, number, width, height) for number in range(ORIGINALS)]
        row = [rate(originals, DataConfig(draft=draft), repeats) for draft in (False, True)]
        copies = ([shrink(folder, item, side) for item in originals] for side in (512, 256))
        row += [rate(items, DataConfig(), repeats) for items in copies]
        megapixels = f"{width * height / 1e6:.0f} megapixels"
        rates |= {f"{megapixels}, in full": row[0], f"{megapixels}, data.draft": row[1]}
        print(f"  {width * height / 1e6:10.0f}{row[0]:10.1f}{row[1]:13.1f}{row[2]:15.1f}{row[3]:15.1f}", end="")
        levels, most, mse, psnr = moved(originals)
        print(f"   draft moves composites by {levels:.2f} levels, at most {most}; MSE {mse:+.2%}, PSNR {psnr:+.3f} dB")
    return rates


def moved(items: Sequence[Item]) -> tuple[float, int, float, float]:
    """How much reduced decoding changes training's composites: mean and largest level, largest change of MSE and PSNR."""
    exact, quick = (CompositeDataset(items, DataConfig(draft=draft), SubmaskConfig()) for draft in (False, True))
    levels, errors, psnr = [], [], []
    for index in range(len(items)):
        pair = exact[0, index], quick[0, index]
        levels.append(np.abs(pair[0].composite.astype(int) - pair[1].composite))
        mse = [np.square(one.composite.astype(float) - one.real).mean() for one in pair]
        errors.append(mse[1] / mse[0] - 1)
        psnr.append(10 * np.log10(mse[0] / mse[1]))
    return float(np.mean(levels)), int(np.max(levels)), float(max(errors, key=abs)), float(max(psnr, key=abs))


def print_cores(rates: dict[str, float], wanted: float, gpus: int) -> None:
    """Prints how many cores keep the GPUs busy."""
    print(f"\ncores that {gpus} GPUs at {wanted:.0f} images/s each need")
    for name, per_core in rates.items():
        print(f"  {name:28}{np.ceil(gpus * wanted / per_core):6.0f}   ({np.ceil(wanted / per_core):.0f} data.workers)")


def print_extras(items: Sequence[Item], repeats: int) -> None:
    """Prints what ``data.online`` costs and what ``data.label_cache`` saves."""
    plain, literal, first, later = time_online(items, repeats)
    extra = (literal - plain) / (later - plain)
    print(f"\ndata.online=1, ms an image: {1e3 * later:.1f}, {later / plain:.1f} times as long as without", end="")
    print(f"; {1e3 * first:.1f} while objects are read for the first time", end="")
    print(f"; {1e3 * literal:.1f} by the literal transfers, {extra:.1f} times the extra cost")
    restyled = CompositeDataset(items, DataConfig(online=1.0), SubmaskConfig(), restyling=Restyler)
    stored = CompositeDataset(items, DataConfig(), SubmaskConfig())
    made = np.mean([np.any(restyled[0, i].composite != stored[0, i].composite) for i in range(len(items))])
    print(f"{made:.0%} were made anew")
    with tempfile.TemporaryDirectory() as folder:
        caching = DataConfig(label_cache=folder)
        rounds = ((DataConfig(), repeats), (caching, 1), (caching, repeats))
        seconds = [fastest(lambda config=config: load_whole(items, config), count) for config, count in rounds]
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.z")) / len(items)
    times = [f"{1e3 * one / len(items):.2f}" for one in seconds]
    print("data.label_cache, whole images, ms: without {}, first time {}, then {}".format(*times), end="")
    print(f"; {size / 1e3:.1f} kB an image")


def time_online(items: Sequence[Item], repeats: int) -> tuple[float, float, float, float]:
    """Seconds an image: stored; made by literal transfers; made by compiled transfers in the first epoch and in later ones.

    The kinds take turns, batch by batch, so that the machine's state is the same for all.
    """
    stored, literal, fast = (
        CompositeDataset(items, DataConfig(online=share), SubmaskConfig(), restyling=Restyler)
        for share in (0.0, 1.0, 1.0)
    )
    assert literal.restyle
    literal.restyle.fast = False
    literal[repeats + 1, 0], fast[repeats + 1, 0]  # compiles
    times: dict[tuple[CompositeDataset, int], float] = defaultdict(float)
    for epoch in range(repeats + 1):
        for start in range(0, len(items), BATCH):
            for images in (stored, literal, fast):
                begun = time.process_time()
                for index in range(start, min(start + BATCH, len(items))):
                    images[epoch, index]
                times[images, epoch] += time.process_time() - begun
    plain, slow, later = (
        min(times[images, epoch] for epoch in range(1, repeats + 1)) for images in (stored, literal, fast)
    )
    return plain / len(items), slow / len(items), times[fast, 0] / len(items), later / len(items)


def print_start(items: Sequence[Item]) -> None:
    """Prints the wall time until the first batch."""
    batch = min(BATCH, len(items))
    for workers in (1, 2):
        order = GlobalBatchSampler(len(items), batch, seed=0, world=World())
        loader = training_loader(CompositeDataset(items, DataConfig(), SubmaskConfig()), order, workers, pin=False)
        start = time.perf_counter()
        batches = iter(loader)
        next(batches)
        first = time.perf_counter() - start
        for _ in batches:
            pass
        order.seek(1, 0)
        start = time.perf_counter()
        next(iter(loader))
        second = time.perf_counter() - start
        print(f"first batch of {batch} by {workers} workers: {first:.2f} s", end="")
        print(f"; of the next epoch: {second:.2f} s (wall time)")


def load_all(items: Sequence[Item], config: DataConfig) -> None:
    """Loads all images as a worker does for training."""
    images = CompositeDataset(items, config, SubmaskConfig())
    for start in range(0, len(items), BATCH):
        pack([images[0, index] for index in range(start, min(start + BATCH, len(items)))])


def load_whole(items: Sequence[Item], config: DataConfig) -> None:
    """Loads all images as a worker does for evaluation."""
    images = CompositeDataset(items, config, SubmaskConfig())
    for index in range(len(items)):
        images[index]


def rate(items: Sequence[Item], config: DataConfig, repeats: int) -> float:
    """Images a second of one core, loaded for training."""
    return len(items) / fastest(lambda: load_all(items, config), repeats)


def fastest(function: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def make_original(folder: Path, items: Sequence[Item], number: int, width: int, height: int) -> Item:
    """A large composite, with its real image and a mask with grey borders."""
    item = Item(str(folder), f"{width}x{height}", f"{number}_1_1.jpg", f"{number}_1.png", f"{number}.jpg")
    for path in (item.composite, item.mask, item.real):
        path.parent.mkdir(parents=True, exist_ok=True)
    photos = (items[(100 * number + place) % len(items)] for place in range(10**6))
    tiles = [(x, y, open_rgb(next(photos).real)) for y in range(0, height, 256) for x in range(0, width, 256)]
    mosaic = Image.new("RGB", (width, height))
    for x, y, tile in tiles:
        mosaic.paste(tile, (x, y))
    source = items[number % len(items)]
    grey = open_mask(source.mask).resize((width, height), Image.Resampling.BICUBIC)
    real = np.asarray(mosaic)
    tinted = (real * np.array([1.12, 1.0, 0.9])).clip(0, 255).astype(np.uint8)
    composite = np.where(np.asarray(grey)[..., None] >= HALF, tinted, real)
    Image.fromarray(composite).save(item.composite, quality=90)
    mosaic.save(item.real, quality=90)
    grey.save(item.mask)
    return item


def shrink(folder: Path, item: Item, side: int) -> Item:
    """A copy of a composite whose shorter side has so many pixels."""
    small = item._replace(subset=f"{item.subset}-{side}")
    for kind in ("composite", "mask", "real"):
        source, target = getattr(item, kind), getattr(small, kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as image:
            size = [round(length * side / min(image.size)) for length in image.size]
            options = {"quality": 95} if target.suffix == ".jpg" else {}
            image.resize(size, Image.Resampling.BILINEAR).save(target, **options)
    return small


if __name__ == "__main__":
    run_command(main)
