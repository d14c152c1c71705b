"""What size costs: the network at 256, 512 and 1024 pixels, and your own images of 1, 12 and 50 megapixels, stage by stage.

    python benchmarks/sizes.py [--root ROOT=data/sample] [--sizes SIZE ...] [--megapixels MP ...]

ROOT is a dataset in iHarmony4's layout; its test split is taken. Large images are mosaics of its photos, with detail at every
pixel, as JPEG of quality 90; the mask, a PNG, is enlarged and has grey borders. Every size has a process of its own, in which
code is compiled before. Times are processor time, which other work on the machine hardly changes, with PyTorch on one thread:
the fastest round's, FRIH and its base network taking turns. Peak memory is of the process, in the first two tables less what it
held before, and measured on Linux only. The last table is of whole command lines, with wall time as well. Files are in the
system's cache.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from costs import multiply_adds, run
from loader import make_original
from model import USED
from PIL import Image
from submasks import in_new_process, memory, reset_peak

from frih import Harmonizer
from frih.common.errors import UserError, run_command
from frih.common.memory import return_memory
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Item, read_split
from frih.data.images import HALF, open_mask
from frih.data.transforms import render, whole
from frih.evaluation import evenly
from frih.harmonizing.outputs import save
from frih.harmonizing.own_images import read_image, read_mask
from frih.harmonizing.transparency import render_visible
from frih.harmonizing.upsampling import add_change
from frih.submasks import extract_submasks
from frih.submasks.patience import Patience
from frih.tools.machine.device import command, facts

SIZES = (256, 512, 1024)
MEGAPIXELS = (1, 12, 50)
PHOTOS = 60
"""Of which the large images are made."""
NETWORKS = ("base network", "FRIH")
CPU = torch.device("cpu")


def main() -> int:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=8, metavar="N", help="the network sees so many (default: 8)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="turns of each network and calls of each image (default: 3)"
    )
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="*",
        default=SIZES,
        metavar="SIZE",
        help="of the network's input (default: 256 512 1024)",
    )
    parser.add_argument(
        "--megapixels", type=float, nargs="*", default=MEGAPIXELS, metavar="MP", help="of images (default: 1 12 50)"
    )
    args = parser.parse_args()
    if min(args.images, args.rounds, *args.megapixels) <= 0:
        raise UserError("--images, --rounds and --megapixels: must be above 0")
    if any(size < 128 or size % 128 for size in args.sizes):
        raise UserError("--sizes: must be multiples of 128")
    about = facts(CPU)
    print(f"{command()}   commit {about['commit'] or 'unknown'}, torch {about['torch']}, {about['cpu']}", end="")
    print(f", {about['threads']} threads")
    items = read_split(args.root, "test").items
    if args.sizes:
        print_network([items[i] for i in evenly(len(items), args.images)], args.sizes, args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        images = {mp: in_new_process(make_image, Path(folder), items, mp) for mp in args.megapixels}
        if images:
            print_stages(images, args.rounds)
            print_programs(images, Path(folder))
    return 0


def print_network(items: Sequence[Item], sizes: Sequence[int], rounds: int) -> None:
    """Prints the network's cost against the size of what it sees, and the clustering's."""
    print(f"\n{len(items)} composites, enlarged or made smaller; an image")
    print(
        "  size      K   clustering",
        *(f"  {name:>12}: ms, multiply-adds, peak memory" for name in NETWORKS),
        "   ratio",
    )
    for size in sizes:
        submasks, clustering = in_new_process(cluster, items, size)
        seconds, counts = in_new_process(run_networks, items, size, rounds)
        held = [in_new_process(peak_of_network, items, size, name) for name in NETWORKS]
        print(f"  {size:4}{submasks:7.1f}{1e3 * clustering:10.1f} ms", end="")
        for spent, count, most in zip(seconds, counts, held, strict=True):
            print(f"{1e3 * spent:18.0f} ms{count / 1e9:12.2f} G{most:11.0f} MB", end="")
        print(f"{seconds[1] / seconds[0]:9.2f}", flush=True)


def cluster(items: Sequence[Item], size: int) -> tuple[float, float]:
    """The mean K, and the processor time of an image's clustering in seconds, of the fastest of three."""
    images = CompositeDataset(items, DataConfig(size=size), SubmaskConfig())
    images.warm_up()
    spent = []
    samples = [images[index] for index in range(len(images))]
    for sample in samples:
        times = []
        for _ in range(3):
            start = time.process_time()
            extract_submasks(sample.composite, sample.mask)
            times.append(time.process_time() - start)
        spent.append(min(times))
    return statistics.mean(int(sample.labels.max()) for sample in samples), statistics.mean(spent)


def run_networks(items: Sequence[Item], size: int, rounds: int) -> tuple[list[float], list[float]]:
    """For each network the seconds and the multiply-adds of an image; the networks take turns."""
    images = CompositeDataset(items, DataConfig(size=size), SubmaskConfig())
    batches = [pack([images[index]]).unpack(CPU) for index in range(len(images))]
    models = [USED[name]() for name in NETWORKS]
    torch.set_num_threads(1)
    times = np.full((len(models), len(batches)), np.inf)
    for number, place, model in itertools.product(range(1 + rounds), range(len(batches)), range(len(models))):
        start = time.process_time()
        run(models[model], batches[place], train=False)
        seconds = time.process_time() - start
        if number:  # the first round allocates memory
            times[model, place] = min(times[model, place], seconds)
    counts = [statistics.mean(multiply_adds(model, batch, train=False) for batch in batches) for model in models]
    return times.mean(axis=1).tolist(), counts


def peak_of_network(items: Sequence[Item], size: int, name: str) -> float:
    """Megabytes at the peak of the first run, on the image with the most submasks."""
    images = CompositeDataset(items, DataConfig(size=size), SubmaskConfig())
    sample = max((images[index] for index in range(len(images))), key=lambda one: int(one.labels.max()))
    return_memory()
    batch, model = pack([sample]).unpack(CPU), USED[name]()
    before = reset_peak()
    run(model, batch, train=False)
    return memory("VmHWM") - before


def make_image(folder: Path, items: Sequence[Item], megapixels: float) -> tuple[Path, Path]:
    """The files of a large composite, 4 : 3, and of its mask, of whose pixels about a quarter are foreground."""
    items = sorted(items[:PHOTOS], key=lambda item: abs(0.25 - (np.asarray(open_mask(item.mask)) >= HALF).mean()))
    height = round((megapixels * 1e6 * 3 / 4) ** 0.5)
    item = make_original(folder, items, 0, height * 4 // 3, height)
    return item.composite, item.mask


def print_stages(images: dict[float, tuple[Path, Path]], rounds: int) -> None:
    """Prints the seconds of each stage, and the peak memory of each size."""
    columns = [in_new_process(stages, *files, rounds) for files in images.values()]
    print("\nHarmonizer, seconds of processor time by stage; megapixels:")
    print(f"  {'':48}", "".join(f"{mp:9g}" for mp in images), sep="")
    for name in columns[0]:
        print(
            f"  {name:48}",
            "".join(f"{column[name]:9.0f}" if "MB" in name else f"{column[name]:9.3f}" for column in columns),
            sep="",
        )


def stages(image: Path, mask: Path, rounds: int) -> dict[str, float]:
    """Seconds of each stage, the fastest of some rounds, and megabytes."""
    torch.set_num_threads(1)
    harmonizer = Harmonizer.load()
    Patience.over = True
    rng = np.random.default_rng(0)
    harmonizer(rng.integers(256, size=(64, 64, 3), dtype=np.uint8), np.full((64, 64), 255, np.uint8))  # compiles
    before = reset_peak()
    harmonizer(image, mask)
    held = memory("VmHWM") - before
    figures: dict[str, float] = {}
    for _ in range(rounds):
        for name, seconds in one_round(harmonizer, image, mask).items():
            figures[name] = min(seconds, figures.get(name, seconds))
    whole_call = sum(figures.values())
    share = float((read_mask(mask) > 0).mean())
    return {
        "foreground, share": share,
        **figures,
        "sum": whole_call,
        "peak memory of reading and harmonizing, MB": held,
    }


def one_round(harmonizer: Harmonizer, image: Path, mask: Path) -> dict[str, float]:
    """Seconds of each stage of one image: what a call does, one after the other."""
    figures: dict[str, float] = {}

    def spent(name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = function(*arguments, **options)
        figures[name] = figures.get(name, 0.0) + time.process_time() - start
        return result

    own, cover = spent("read the image (JPEG)", read_image, image), spent("read the mask (PNG)", read_mask, mask)
    grey = Image.fromarray(cover)
    soft = spent("shrink both to the network's size", render, grey, whole(grey), harmonizer.size)
    small = spent("shrink both to the network's size", render_visible, own.pixels, soft >= HALF, harmonizer.size)
    spent("find submasks", extract_submasks, small, soft >= HALF, **harmonizer.config.submasks.model_dump())
    _, change = spent("network, submasks and slopes, at its size", harmonizer.look, small, soft)
    figures["network, submasks and slopes, at its size"] -= figures["find submasks"]
    pixels = spent("copy the image", own.pixels.copy)
    spent("add the change at full size", add_change, change, pixels, cover)
    result = spent("to a PIL image", own.give_back, pixels)
    for suffix, kind in ((".jpg", "write JPEG"), (".png", "write PNG")):
        spent(kind, save, result, image.with_name(f"result{suffix}"))
    return figures


def print_programs(images: dict[float, tuple[Path, Path]], folder: Path) -> None:
    """Prints seconds and peak memory of whole command lines, or the error in which one ended."""
    print("\nfrih harmonize IMAGE.jpg MASK.png -o OUT.jpg; megapixels: seconds, of processor time, peak memory (RSS)")
    for megapixels, (image, mask) in images.items():
        words = [sys.executable, "-m", "frih", "harmonize", image, mask, "-o", folder / "out.jpg", "--overwrite"]
        start = time.perf_counter()
        with tempfile.TemporaryFile("w+") as told:
            process = subprocess.Popen(words, stdout=told, stderr=told)
            _, status, usage = os.wait4(process.pid, 0)
            told.seek(0)
            last = told.read().strip().splitlines()[-1:]
        seconds = time.perf_counter() - start
        busy, held = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6
        print(f"  {megapixels:6g}{seconds:9.2f}{busy:9.2f}{held:9.0f} MB  {'' if status == 0 else last}", flush=True)


if __name__ == "__main__":
    run_command(main)
