"""Compares the costs of FRIH, its base network, its dense (literal) form and a network of iDIH256's shape, in turns.

    python benchmarks/model.py [--root ROOT=data/sample] [--images N] [--device cpu] [--plot FILE]

ROOT is a dataset in iHarmony4's layout; its test split is taken at 256x256. Time is the median over images and rounds; the
variants take turns. PyTorch counts the multiply-adds of the operations that run. Peak memory is that of a process of its own
(Linux; on CUDA that of the allocator), less what it held before. Weights are random: the cost does not depend on them. This is
about the network (docs/cost.md); scripts/check_machine.py says how fast a machine trains it.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

import torch
from costs import Build, Cost, as_used, measure, print_heading, timed
from peer_networks import PEERS

from frih import FRIH
from frih.common.devices import choose_device
from frih.common.errors import UserError, run_command
from frih.common.memory import keep_memory
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Batch, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import evenly
from frih.tools.machine.device import Device

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
COUNTS = (1, 2, 4, 6, 8, 10)


def compiled() -> FRIH:
    """FRIH with its base network and its cascade compiled for any number of pairs."""
    model = FRIH()
    model.base = torch.compile(model.base, dynamic=False)
    model.cascade.forward = torch.compile(model.cascade.forward, dynamic=True)
    return model


VARIANTS: dict[str, Build] = {
    "iDIH256": PEERS["iDIH256"],
    "base network": partial(FRIH, cascade=False, fusion=False),
    "FRIH": FRIH,
    "FRIH, compiled": compiled,
    "FRIH, dense": partial(FRIH, dense=True),
}
USED = {**VARIANTS, **{name: partial(as_used, VARIANTS[name]) for name in ("base network", "FRIH")}}
"""The same for inference."""
Curve = list[tuple[float, float, float]]
"""(K or per cent of foreground, seconds of FRIH, seconds of the base network)."""


def main() -> int:
    """Prints every table, and draws the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=8, metavar="N", help="composites, evenly spaced (default: 8)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant on each image (default: 3)")
    parser.add_argument("--batch", type=int, default=2, help="images in a training step (default: 2)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw cost against K and foreground (matplotlib)")
    parser.add_argument("--compile", action="store_true", help="with torch.compile as well; takes minutes")
    args = parser.parse_args()
    if min(args.images, args.rounds, args.batch) < 1:
        raise UserError("--images, --rounds and --batch: must be 1 or more")
    keep_memory()
    device = Device(choose_device(args.device, "--device", kinds=("cuda",)))
    items = read_split(args.root, "test").items
    chosen = [items[i] for i in evenly(len(items), args.images)]
    images = CompositeDataset(chosen, DataConfig(), SubmaskConfig())
    batches = [pack([images[i]]).unpack(device.device) for i in range(len(images))]
    together = pack([images[i] for i in evenly(len(images), args.batch)]).unpack(device.device)
    print_heading(batches, device)
    used, trained = (
        {name: build for name, build in variants.items() if args.compile or name != "FRIH, compiled"}
        for variants in (USED, VARIANTS)
    )
    print_table("inference, batch 1", measure(used, batches, args.rounds, device))
    print_table(f"training step, batch {args.batch}", measure(trained, [together], args.rounds, device, train=True))
    if args.compile:
        print(f"\n{torch._dynamo.utils.counters['stats']['unique_graphs']} graphs were compiled")
    curves = {
        "K, at equal foreground": [(k, *pair(by_count(batches[0], k), args.rounds, device)) for k in COUNTS],
        "foreground (%), 8 submasks": [
            (100 * share, *pair(by_share(batches[0], share), args.rounds, device)) for share in SHARES
        ],
    }
    for name, curve in curves.items():
        print(f"\nFRIH's time, inference, against {name}; ratio to the base network")
        for value, seconds, base in curve:
            print(f"  {value:6.0f}  {1e3 * seconds:8.1f} ms  {seconds / base:6.2f}")
    if args.plot:
        draw(curves, args.plot)
    return 0


def by_count(batch: Batch, count: int) -> Batch:
    """The same foreground in so many stripes of equal area."""
    mask = batch.labels > 0
    order = mask.flatten().cumsum(0).view_as(batch.labels) - 1
    labels = (order * count // mask.sum() + 1) * mask
    return batch._replace(labels=labels.byte())


def by_share(batch: Batch, share: float) -> Batch:
    """A foreground that covers this share of the image from the top down, in eight vertical stripes."""
    size = batch.labels.shape[-1]
    stripes = torch.arange(size, device=batch.labels.device) * 8 // size + 1
    labels = torch.zeros_like(batch.labels)
    labels[:, : round(size * share)] = stripes.byte()
    return batch._replace(labels=labels, mask=(labels > 0).unsqueeze(1).float())


def pair(batch: Batch, rounds: int, device: Device) -> tuple[float, float]:
    """Seconds of FRIH's inference, and of the base network's."""
    models = [USED[name]().to(device.device) for name in ("FRIH", "base network")]
    times = [[timed(model, batch, device) for model in models] for _ in range(rounds + 1)][1:]
    ours, base = (statistics.median(column) for column in zip(*times, strict=True))
    return ours, base


def print_table(title: str, costs: dict[str, Cost]) -> None:
    """Costs, and ratios to the iDIH256 network, the base network and the dense FRIH."""
    print(f"\n{title}")
    heading = ("", "params", "multiply-adds", "time", "/ iDIH256", "/ base", "/ dense", "peak memory", "/ dense")
    print("{:14} {:>8} {:>14} {:>10} {:>12} {:>8} {:>8} {:>12} {:>8}".format(*heading))
    units = [costs[name] for name in ("iDIH256", "base network", "FRIH, dense")]
    for name, cost in costs.items():
        ratios = (cost.seconds / unit.seconds for unit in units)
        print(
            f"{name:14} {cost.parameters / 1e6:6.2f} M {cost.multiply_adds / 1e9:12.2f} G {1e3 * cost.seconds:7.0f} ms "
            "{:12.2f} {:8.2f} {:8.3f} ".format(*ratios)
            + f"{cost.memory / 1e6:9.0f} MB {cost.memory / max(units[-1].memory, 1):8.3f}"
        )


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Cost against K and against the foreground."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        axes.plot([value for value, *_ in curve], [seconds / base for _, seconds, base in curve], "o-", color="#4477aa")
        axes.set(xlabel=name)
        axes.grid(alpha=0.3)
    highest = max(ours / base for curve in curves.values() for _, ours, base in curve)
    figure.axes[0].set(ylabel="FRIH's time / base network's", ylim=(0, 1.1 * highest))
    figure.savefig(path)


if __name__ == "__main__":
    run_command(main)
