"""What FRIH costs beside other harmonization networks, at 256x256 in float32, in one interleaved run.

    python benchmarks/peers.py [--root ROOT=data/sample] [--images N] [--device cpu] [--batches 1 16] [--plot FILE]

ROOT is a dataset in iHarmony4's layout, of whose test split N composites are taken. The others are networks of the shape of the
published ones, untrained (benchmarks/peer_networks); the cost does not depend on the weights. All take turns on each batch.
Times are medians; ratios are medians of the ratios of each turn. On a busy machine threads wait for each other, the longer the
more layers a network has; --processor counts the processor time of one thread instead. PyTorch counts the multiply-adds. Peak
memory is that of a process of its own (Linux; on CUDA that of the allocator), less what it held before.

PSNR is the published one, on iHarmony4; nothing is measured here. Figures of different protocols do not compare.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path

import torch
from costs import Build, Cost, measure, print_heading
from model import USED
from peer_networks import PEERS
from peer_networks.published import PUBLISHED

from frih.common.devices import choose_device
from frih.common.errors import UserError, need, run_command
from frih.common.memory import keep_memory
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import evenly
from frih.tools.machine.device import Device

VARIANTS: dict[str, Build] = {name: USED[name] for name in ("base network", "FRIH")} | PEERS
"""What builds each network as it is used."""
UNITS = ("iDIH256", "base network")
"""Ratios are to these."""


def main() -> int:
    """Prints a table for each size of a batch, and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=16, metavar="N", help="composites, evenly spaced (default: 16)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], metavar="B", help="images in a batch (1 16)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each network on each batch (default: 3)")
    parser.add_argument("--processor", action="store_true", help="processor time of one thread (CPU)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of: {', '.join(VARIANTS)}")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR against cost (matplotlib)")
    args = parser.parse_args()
    if min(args.images, args.rounds, *args.batches) < 1:
        raise UserError("--images, --batches and --rounds: must be 1 or more")
    if unknown := set(args.only or ()) - set(VARIANTS):
        raise UserError(f"--only: no network {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    if args.plot:
        need("matplotlib", extra="train")
    keep_memory()
    device = Device(choose_device(args.device, "--device", kinds=("cuda",)))
    if args.processor:
        if device.is_gpu:
            raise UserError("--processor: counts what a CPU does; leave it out, or --device")
        torch.set_num_threads(1)
    clock = time.process_time if args.processor else time.perf_counter
    items = read_split(args.root, "test").items
    chosen = [items[i] for i in evenly(len(items), args.images)]
    images = CompositeDataset(chosen, DataConfig(), SubmaskConfig())
    samples = [images[i] for i in range(len(images))]
    print_heading([pack([sample]).unpack(device.device) for sample in samples], device)
    variants = {name: build for name, build in VARIANTS.items() if not args.only or name in args.only}
    costs = {}
    for size in args.batches:
        endless = cycle(samples)
        batches = [pack(list(islice(endless, size))).unpack(device.device) for _ in range(max(1, len(samples) // size))]
        costs[size] = measure(variants, batches, args.rounds, device, clock=clock)
        print_table(size, costs[size])
    if args.plot:
        from peer_networks.plot import draw

        draw(costs, args.plot, "processor time" if args.processor else "time")
    return 0


def print_table(size: int, costs: Mapping[str, Cost]) -> None:
    """The costs of all networks in batches of one size, by time; an image's."""
    print(f"\ninference, batch {size}")
    heading = ("", "params", "multiply-adds", "time an image", *(f"/ {unit}" for unit in UNITS), "peak memory", "PSNR")
    print("{:14} {:>9} {:>14} {:>14} {:>10} {:>14} {:>12} {:>8}   protocol".format(*heading))
    for name, cost in sorted(costs.items(), key=lambda one: one[1].seconds):
        ratios = (f"{ratio(cost, costs[unit]):.2f}" if unit in costs else "" for unit in UNITS)
        print(
            f"{name:14} {cost.parameters / 1e6:7.2f} M {cost.multiply_adds / 1e9:12.2f} G "
            f"{1e3 * cost.seconds / size:11.1f} ms "
            + "{:>10} {:>14} ".format(*ratios)
            + f"{cost.memory / 1e6:9.0f} MB "
            f"{PUBLISHED[name].psnr:8.2f}   {PUBLISHED[name].protocol}",
            flush=True,
        )


def ratio(cost: Cost, unit: Cost) -> float:
    """How many times as long a network takes as another, the median over turns."""
    return statistics.median(ours / theirs for ours, theirs in zip(cost.times, unit.times, strict=True))


if __name__ == "__main__":
    run_command(main)
