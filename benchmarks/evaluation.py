"""What evaluation costs beside the network's own time: reading, submasks, scoring, images for the report.

    python benchmarks/evaluation.py [--root ROOT=data/sample] [--images N] [--device cpu] [--processor]

ROOT is a dataset in iHarmony4's layout, of which the test split is evaluated at 256x256. The network's own time is the time
from batches in memory to images as arrays. Weights are random, since cost does not depend on them. Each figure is the median
over --rounds, and the variants take turns. --processor counts processor time of all threads, which other work on the machine
hardly changes, but not the time of the loader's processes.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from frih import FRIH
from frih.common.devices import choose_device
from frih.common.distributed import World
from frih.common.errors import UserError, run_command
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.data.loader import evaluation_loader
from frih.evaluation import Evaluation, evenly, harmonize
from frih.metrics import METRICS, PROTOCOLS, Scoring, Target
from frih.tools.report.thumbnails import Thumbnails

ALL = tuple(name for name in METRICS if name != "lpips")


def main() -> int:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=32, metavar="N", help="composites, evenly spaced (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant (default: 3)")
    parser.add_argument("--batch", type=int, default=16, help="images per forward pass (default: 16)")
    parser.add_argument("--workers", type=int, default=0, help="loader processes (default: 0)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--processor", action="store_true", help="count processor time")
    args = parser.parse_args()
    if min(args.images, args.rounds, args.batch) < 1:
        raise UserError("--images, --rounds and --batch: must be 1 or more")
    items = read_split(args.root, "test").items
    images = CompositeDataset([items[i] for i in evenly(len(items), args.images)], DataConfig(), SubmaskConfig())
    device = choose_device(args.device, "--device", kinds=("cuda",))
    print(
        f"python {' '.join(sys.argv)}   torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores, {device}"
    )
    print(f"{len(images)} composites at 256x256, batches of {args.batch}, {args.workers} loader processes")
    clock = time.process_time if args.processor else time.perf_counter
    print_evaluations(images, args, device, clock)
    print_metrics(images, args.rounds, clock)
    return 0


def print_evaluations(
    images: CompositeDataset, args: argparse.Namespace, device: torch.device, clock: Callable[[], float]
) -> None:
    """Times whole evaluations, and the network alone."""
    model = FRIH().to(device).eval()
    batches = list(evaluation_loader(images, args.batch, 0, World()))

    def alone() -> None:
        for packed in batches:
            harmonize(model, packed, device)

    def evaluating(*metrics: str, folder: str | None = None) -> Callable[[], object]:
        show = {"": Thumbnails(Path(folder)).add} if folder else {}
        scoring, world = Scoring(("idih",), metrics), World(device=device)
        evaluation = Evaluation(images, scoring, world, batch=args.batch, workers=args.workers, show=show)
        return lambda: evaluation.of_model(model)

    with tempfile.TemporaryDirectory() as folder:
        variants = {
            "the network alone": alone,
            "MSE, PSNR, fMSE": evaluating(),
            "and SSIM (the default)": evaluating("ssim"),
            "and images for the report": evaluating("ssim", folder=folder),
            "and all metrics but LPIPS": evaluating(*ALL, folder=folder),
        }
        times = take_turns(variants, args.rounds, clock)
    print_times("evaluating a run", times, len(images), "the network alone")


def print_metrics(images: CompositeDataset, rounds: int, clock: Callable[[], float]) -> None:
    """Times each protocol, and each metric beside the paper's, for one more image in one thread."""
    sample = images[0]
    image, mask = sample.composite + 0.4, sample.soft_mask / 255
    targets = {f"protocol {name}": Target(sample.real, mask, name) for name in PROTOCOLS}
    targets |= {f"idih and {name}": Target(sample.real, mask, "idih", [name]) for name in ALL[3:]}
    calls = {name: lambda target=target: target.score(image) for name, target in targets.items()}
    times = take_turns(calls, 10 * rounds, clock)
    print_times("scoring one image", times, 1, "protocol idih")


def print_times(title: str, times: dict[str, float], images: int, unit: str) -> None:
    """Prints the time of each variant for one image, and its ratio to that of one of them."""
    print(f"\n{title:30} {'ms an image':>12} {'ratio':>7}")
    for name, spent in times.items():
        print(f"{name:30} {1e3 * spent / images:12.1f} {spent / times[unit]:7.2f}")


def take_turns(calls: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """The median time of each call, after one call that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if turn:
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


if __name__ == "__main__":
    run_command(main)
