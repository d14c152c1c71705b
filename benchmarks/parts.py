"""Where FRIH's time goes, part by part and by the kind of work, against what the device allows.

    python benchmarks/parts.py [--root ROOT=data/sample] [--images N] [--batch N] [--device cpu] [--precision fp32]

ROOT is a dataset in iHarmony4's layout, whose test split is taken. Each operator that PyTorch runs is timed by itself, with its
bytes and multiply-adds (frih/tools/machine/limit.py). "Allowed" is the longer of two times: its bytes at the bandwidth of a
large copy, its multiply-adds at the rate of a large matrix product. What stays in a CPU's cache may be faster than that. The
floor is the time allowed for all. Timing takes time of its own: benchmarks/model.py says how long all takes without it.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from costs import print_heading

from frih import FRIH
from frih.common.devices import choose_device
from frih.common.errors import UserError, run_command
from frih.common.memory import keep_memory
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Batch, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import evenly
from frih.losses import harmonization_loss
from frih.models import elu, refine
from frih.models.folding import fold_normalization
from frih.tools.machine.device import Device
from frih.tools.machine.limit import Counter, copying, large, multiplying

KINDS = {
    "convolutions": ("conv", "mm", "bmm", "addmm", "baddbmm"),
    "ELU": ("elu",),
    "norm": ("norm", "batch_norm"),
    "gather, scatter": ("index", "gather", "scatter"),
    "copies": ("copy", "cat", "clone", "_to_copy", "contiguous"),
}
"""Kinds of work, by what the names of operators hold; the rest is "other"."""
COLUMNS = (*KINDS, "other")


class Cell(NamedTuple):
    """Sums over operators."""

    seconds: float = 0.0
    bytes: int = 0
    multiply_adds: int = 0
    allowed: float = 0.0

    def plus(self, other: "Cell") -> "Cell":
        """The sums of both."""
        return Cell(*(a + b for a, b in zip(self, other, strict=True)))


class Clock(Counter):
    """Times each operator, by the part in which it runs and its kind."""

    def __init__(self, device: Device, bandwidth: float, rate: float) -> None:
        super().__init__(bandwidth, rate)
        self.device, self.part, self.kind = device, "the rest", ""
        self.spent = 0.0
        self.cells: dict[tuple[str, str], Cell] = defaultdict(Cell)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs an operator and waits for it."""
        self.device.wait()
        start = time.perf_counter()
        out = func(*args, **kwargs)
        self.device.wait()
        self.spent += time.perf_counter() - start  # views take time as well; the next operator bears it
        return out

    def note(self, name: str, moved: int, products: int, allowed: float) -> None:
        """Adds an operator to its part and kind."""
        words = [(one, word) for one, found in KINDS.items() for word in found]
        kind = self.kind or next((one for one, word in words if word in name), "other")
        key = self.part, kind
        self.cells[key] = self.cells[key].plus(Cell(self.spent, moved, products, allowed))
        self.spent = 0.0

    @contextmanager
    def within(self, *, part: str | None = None, kind: str | None = None) -> Iterator[None]:
        """What runs inside belongs to this part or kind."""
        before = self.part, self.kind
        self.part, self.kind = part or self.part, kind or self.kind
        yield
        self.part, self.kind = before


def main() -> int:
    """Prints a table for inference and one for training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, default=8, metavar="N", help="composites, evenly spaced (default: 8)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="of these in a batch (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts (default: 3)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    args = parser.parse_args()
    if min(args.images, args.batch, args.rounds) < 1 or args.images % args.batch:
        raise UserError("--images, --batch and --rounds: must be 1 or more, and batches full")
    keep_memory()
    device = Device(choose_device(args.device, "--device", kinds=("cuda",)))
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    items = read_split(args.root, "test").items
    images = CompositeDataset([items[i] for i in evenly(len(items), args.images)], DataConfig(), SubmaskConfig())
    samples = [images[i] for i in range(len(images))]
    starts = range(0, len(samples), args.batch)
    batches = [pack(samples[start : start + args.batch]).unpack(device.device) for start in starts]
    size, side = large(device)
    bandwidth, rate = 2 * size / copying(device, size), side**3 / multiplying(device, side, args.precision)
    print_heading([pack([sample]).unpack(device.device) for sample in samples], device)
    print(f"{bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.0f} G multiply-adds/s in {args.precision}")
    for train in (False, True):
        rounds = [profile(batches, device, dtype, bandwidth, rate, train=train) for _ in range(1 + args.rounds)][1:]
        print_table("training" if train else "inference", min(rounds, key=total_seconds), len(images))
    return 0


def profile(
    batches: list[Batch], device: Device, dtype: torch.dtype, bandwidth: float, rate: float, *, train: bool
) -> dict[tuple[str, str], Cell]:
    """The cost of each part and kind of work, over all batches."""
    torch.manual_seed(0)
    model = FRIH().to(device.device)
    used = model.train() if train else fold_normalization(model)
    clock = Clock(device, bandwidth, rate)
    with ExitStack() as stack:
        for owner, name, where in places(used):
            stack.enter_context(patch.object(owner, name, within(getattr(owner, name), clock, **where)))
        for batch in batches:
            run(used, batch, dtype, clock)
    return dict(clock.cells)


def places(model: FRIH) -> list[tuple[Any, str, dict[str, str]]]:
    """The functions in which the parts and kinds of work run: owner, name, and what of them they are."""
    assert model.cascade is not None
    parts = {
        "base network": [(model.base, "forward")],
        "list of tiles": [(refine, "find")],
        "encoder": [(model.cascade, "encode"), (refine, "encode_near")],
        "transfers": [(model.cascade, "share")],
        "decoder, fuse": [(refine, "decode_windows"), (refine, "decode_whole")],
        "head": [(refine, "predict")],
    }
    found = [(owner, name, {"part": part}) for part, functions in parts.items() for owner, name in functions]
    kinds = [(refine, "windows", "gather, scatter"), (refine, "put", "gather, scatter"), (elu, "elu_", "ELU")]
    return [*found, *((owner, name, {"kind": kind}) for owner, name, kind in kinds)]


def within(function: Callable[..., Any], clock: Clock, **where: str) -> Callable[..., Any]:
    """A function whose operators belong to a part or kind."""

    def inside(*args: Any, **kwargs: Any) -> Any:
        with clock.within(**where):
            return function(*args, **kwargs)

    return inside


def run(model: FRIH, batch: Batch, dtype: torch.dtype, clock: Clock) -> None:
    """One forward pass; in training with loss and backward pass."""
    with clock, torch.set_grad_enabled(model.training):
        with torch.autocast(batch.composite.device.type, dtype, enabled=dtype != torch.float32):
            out = model(batch.composite, batch.mask, batch.labels)
        if model.training:
            loss = harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean()
            with clock.within(part="backward pass"):
                loss.backward()


def total_seconds(cells: dict[tuple[str, str], Cell]) -> float:
    """Of all operators."""
    return sum(cell.seconds for cell in cells.values())


def print_table(title: str, cells: dict[tuple[str, str], Cell], images: int) -> None:
    """Milliseconds an image by part and kind; bytes, multiply-adds, the time allowed, and the ratio to it."""
    parts = list(dict.fromkeys(part for part, _ in cells))
    print(f"\n{title}, ms an image")
    heading = (*COLUMNS, "all", "MB", "M mult-adds", "allowed", "ratio")
    print(f"  {'':16}" + "".join(f"{name:>16}" for name in heading))
    for part in [*parts, "all"]:
        own = {kind: Cell() for kind in COLUMNS}
        for (one, kind), cell in cells.items():
            if part in (one, "all"):
                own[kind] = own[kind].plus(cell)
        whole = Cell()
        for cell in own.values():
            whole = whole.plus(cell)
        times = [1e3 * cell.seconds / images for cell in (*own.values(), whole)]
        line = "".join(f"{value:16.2f}" for value in times)
        line += f"{whole.bytes / images / 1e6:16.1f}{whole.multiply_adds / images / 1e6:16.0f}"
        print(f"  {part:16}{line}{1e3 * whole.allowed / images:16.2f}{whole.seconds / max(whole.allowed, 1e-9):16.1f}")


if __name__ == "__main__":
    run_command(main)
