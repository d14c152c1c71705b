"""What FRIH costs: its base network, the dense (literal) FRIH and the default one, in one interleaved run.

    python benchmarks/model.py [--root ROOT=data/sample] [--images N] [--device cpu] [--plot FILE]

ROOT is a dataset in iHarmony4's layout, its test split, at 256x256. Time is the median over images and rounds, the variants
taking turns; multiply-adds are counted by PyTorch from the operations that run; peak memory is that of a process of its own
(Linux; CUDA: the allocator's), less what it held before. Weights are random: cost does not depend on them.
"""

import argparse
import multiprocessing
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from frih import FRIH
from frih.common.distributed import choose_device
from frih.common.errors import UserError, run_command
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Batch, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import evenly
from frih.losses import harmonization_loss
from frih.models.unet import BaseNetwork

IDIH_LIKE = {"widths": (40, 72, 144, 256, 264, 264, 264), "decoder_width": 40}
"""A U-Net of iDIH256's kind and, nearly, its published size: 8.30 M parameters, 1.66 G multiply-adds."""
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
COUNTS = (1, 2, 4, 6, 8, 10)


class Idih(nn.Module):
    """The yardstick of the field's cost tables."""

    def __init__(self) -> None:
        super().__init__()
        self.base = BaseNetwork(**IDIH_LIKE)

    def forward(self, composite, mask, labels):
        """As FRIH without a cascade."""
        coarse = self.base(composite, mask)[0]
        return coarse, coarse


def compiled() -> nn.Module:
    """FRIH with its base network and its cascade compiled, the number of pairs left open."""
    model = FRIH()
    model.base = torch.compile(model.base, dynamic=False)
    model.cascade.forward = torch.compile(model.cascade.forward, dynamic=True)
    return model


VARIANTS: dict[str, Callable[[], nn.Module]] = {
    "iDIH-like": Idih,
    "base network": lambda: FRIH(cascade=False, fusion=False),
    "FRIH": FRIH,
    "FRIH, compiled": compiled,
    "FRIH, dense": lambda: FRIH(dense=True),
}


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
    device = choose_device(args.device)
    items = read_split(args.root, "test").items
    chosen = [items[i] for i in evenly(len(items), args.images)]
    images = CompositeDataset(chosen, DataConfig(), SubmaskConfig())
    batches = [pack([images[i]]).unpack(device) for i in range(len(images))]
    together = pack([images[i] for i in evenly(len(images), args.batch)]).unpack(device)
    print_heading(batches, device)
    names = [name for name in VARIANTS if args.compile or name != "FRIH, compiled"]
    print_table("inference, batch 1", measure(names, batches, args.rounds, train=False))
    print_table(f"training step, batch {args.batch}", measure(names, [together], args.rounds, train=True))
    if args.compile:
        print(f"\n{torch._dynamo.utils.counters['stats']['unique_graphs']} graphs were compiled")
    curves = {
        "K, at equal foreground": by_count(batches[0], args.rounds),
        "foreground (%), 8 submasks": by_share(batches[0], args.rounds),
    }
    for name, curve in curves.items():
        print(f"\nFRIH's time, inference, against {name}; ratio to the base network")
        print(
            "\n".join(
                f"  {value:6.0f}  {1e3 * seconds:8.1f} ms  {seconds / base:6.2f}" for value, seconds, base in curve
            )
        )
    if args.plot:
        draw(curves, args.plot)
    return 0


class Cost:
    """Of one variant."""

    def __init__(self, seconds: float, multiply_adds: float, memory: float, parameters: int) -> None:
        self.seconds, self.multiply_adds, self.memory, self.parameters = seconds, multiply_adds, memory, parameters


def measure(names: Sequence[str], batches: Sequence[Batch], rounds: int, *, train: bool) -> dict[str, Cost]:
    """Runs the variants in turn on each batch, in each round."""
    models = {name: VARIANTS[name]().to(batches[0].composite.device).train(train) for name in names}
    for model in models.values():
        run(model, batches[0], train)
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for batch in batches:
            for name, model in models.items():
                times[name].append(timed(model, batch, train))
    costs = {}
    for name, model in models.items():
        counts = []
        for batch in batches:
            with FlopCounterMode(display=False) as counter:
                run(model, batch, train)
            counts.append(counter.get_total_flops() / 2 / len(batch.name))
        heaviest = max(batches, key=lambda batch: int(batch.labels.flatten(1).amax(1).sum()))
        memory = peak_memory(name, heaviest, train)
        parameters = sum(p.numel() for p in model.parameters())
        costs[name] = Cost(statistics.median(times[name]), statistics.mean(counts), memory, parameters)
    return costs


def run(model: nn.Module, batch: Batch, train: bool) -> None:
    """One forward pass, or one with loss and backward pass."""
    if not train:
        with torch.inference_mode():
            model(batch.composite, batch.mask, batch.labels)
        return
    model.zero_grad(set_to_none=True)
    out = model(batch.composite, batch.mask, batch.labels)
    if isinstance(model, Idih):
        (out[0] - batch.real).square().sum().backward()
    else:
        refine = model.cascade is not None
        harmonization_loss(out, batch.real, batch.mask, batch.labels, refine=refine).total.mean().backward()


def timed(model: nn.Module, batch: Batch, train: bool) -> float:
    """Seconds of one run."""
    if batch.composite.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run(model, batch, train)
    if batch.composite.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(name: str, batch: Batch, train: bool) -> float:
    """MB that one run takes at its peak, beyond model and batch."""
    if batch.composite.is_cuda:
        model = VARIANTS[name]().cuda().train(train)
        run(model, batch, train)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(model, batch, train)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_peak_memory, args=(send, name, batch, train))
    process.start()
    megabytes: float = receive.recv()
    process.join()
    return megabytes


def _peak_memory(send, name: str, batch: Batch, train: bool) -> None:
    model = VARIANTS[name]().train(train)
    before = _high_water()
    run(model, batch, train)
    send.send(_high_water() - before)


def _high_water() -> float:
    """MB of memory that this process has held at its peak (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM"))


def by_count(batch: Batch, rounds: int) -> list[tuple[float, float, float]]:
    """(K, seconds of FRIH, of the base network) with the same foreground in K stripes."""
    mask = batch.labels > 0
    order = mask.flatten().cumsum(0).view_as(batch.labels) - 1
    results = []
    for count in COUNTS:
        labels = (order * count // mask.sum() + 1) * mask
        results.append((count, *_pair_of_times(batch._replace(labels=labels.byte()), rounds)))
    return results


def by_share(batch: Batch, rounds: int) -> list[tuple[float, float, float]]:
    """(per cent of foreground, seconds of FRIH, of the base network) with a foreground of 8 stripes from the top down."""
    size = batch.labels.shape[-1]
    results = []
    for share in SHARES:
        rows = round(size * share)
        labels = torch.zeros_like(batch.labels)
        labels[:, :rows] = (torch.arange(size, device=labels.device) * 8 // size + 1).byte()
        mask = (labels > 0).unsqueeze(1).float()
        results.append((100 * share, *_pair_of_times(batch._replace(labels=labels, mask=mask), rounds)))
    return results


def _pair_of_times(batch: Batch, rounds: int) -> tuple[float, float]:
    models = [VARIANTS[name]().to(batch.composite.device).eval() for name in ("FRIH", "base network")]
    times = [[timed(model, batch, False) for model in models] for _ in range(rounds + 1)][1:]
    ours, base = (statistics.median(column) for column in zip(*times, strict=True))
    return ours, base


def print_heading(batches: Sequence[Batch], device: torch.device) -> None:
    """What was measured, and on what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    where = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    )
    counts = [int(batch.labels.max()) for batch in batches]
    print(f"python {' '.join(sys.argv)}   commit {commit or 'unknown'}, torch {torch.__version__}, {where}")
    print(
        f"{len(batches)} composites at 256x256, foreground {100 * statistics.mean(b.fg_ratio[0] for b in batches):.1f} %, "
        f"K {statistics.mean(counts):.1f} on average"
    )


def print_table(title: str, costs: dict[str, Cost]) -> None:
    """Absolute figures, and ratios to the yardstick, the base network and the dense FRIH."""
    print(f"\n{title}")
    heading = ("", "params", "multiply-adds", "time", "/ iDIH-like", "/ base", "/ dense", "peak memory", "/ dense")
    print("{:14} {:>8} {:>14} {:>10} {:>12} {:>8} {:>8} {:>12} {:>8}".format(*heading))
    yardstick, base, dense = (costs[name] for name in ("iDIH-like", "base network", "FRIH, dense"))
    for name, cost in costs.items():
        ratios = (cost.seconds / one.seconds for one in (yardstick, base, dense))
        print(
            f"{name:14} {cost.parameters / 1e6:6.2f} M {cost.multiply_adds / 1e9:12.2f} G {1e3 * cost.seconds:7.0f} ms "
            "{:12.2f} {:8.2f} {:8.3f} ".format(*ratios)
            + f"{cost.memory:9.0f} MB {cost.memory / max(dense.memory, 1e-9):8.3f}"
        )


def draw(curves: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    """Cost against K and against the foreground."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (name, curve) in zip(figure.subplots(1, len(curves), sharey=True), curves.items(), strict=True):
        axes.plot([value for value, *_ in curve], [seconds / base for _, seconds, base in curve], "o-", color="#4477aa")
        axes.set(xlabel=name)
        axes.grid(alpha=0.3)
    figure.axes[0].set(
        ylabel="FRIH's time / base network's",
        ylim=(0, 1.1 * max(ours / base for curve in curves.values() for _, ours, base in curve)),
    )
    figure.savefig(path)


if __name__ == "__main__":
    run_command(main)
