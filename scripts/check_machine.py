"""Checks a new machine, with or without a GPU: whether it computes rightly, how fast, and how near its limits.

    python scripts/check_machine.py [--quick] [--only right fast limit] [data.root=/datasets/iHarmony4] [key.sub=value ...]

right  images and gradients of every arithmetic against float64 on the CPU, synchronised normalisation, two steps of training,
       resuming to the bit, and the loader beside the busy device
fast   images a second and memory of the base network, FRIH and its dense form, by batch and arithmetic; parts of a step; loader
limit  the time that the device's bandwidth and matrix rate allow, and how much longer a step takes

At the end it says which train.batch, train.precision, data.workers and train.compile follow, and how long the recipe would take
on iHarmony4. Without data.root images are made. DIR/machine.json gets each finding at once. Exit status 0 if all checks are
right, 1 if one is wrong or failed. docs/machine.md explains each line. This program is about the machine; about the network are
scripts/complexity.py, which counts its parts, and benchmarks/model.py, which compares it with others.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

from frih.common.devices import choose_device
from frih.common.errors import UserError, extra, run_command
from frih.common.paths import path_argument
from frih.config.recipes import load_config

with extra("train"):
    from frih.tools.machine import check
    from frih.tools.machine.setting import PRECISIONS, options_for

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("right", "fast", "limit")


def main() -> int:
    """Checks what the command line names."""
    args = parse()
    device = choose_device(args.device, "--device", kinds=("cuda",))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    options = options_for(
        device.type == "cuda",
        quick=args.quick,
        only=tuple(section for section in SECTIONS if section in args.only),
        precisions=tuple(args.precisions) if args.precisions else None,
        batches=tuple(sorted(set(args.batches))) if args.batches else None,
        minutes=args.minutes,
        compile=args.compile,
    )
    size = [] if args.size is None else [f"data.size={args.size}"]
    config = load_config(args.recipe, [*args.overrides, *size])
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        record = check.check_machine(device, config, options, args.out / "machine.json", Path(temporary), tqdm.write)
    faults = record.faults
    skips = sum(row["status"] == "skipped" for row in record.all_rows)
    verdict = f"{len(faults)} wrong or failed" if faults else "nothing is wrong"
    print(f"\n{verdict}, {skips} skipped, {record.elapsed:.0f} s; written: {record.path}")
    for row in faults:
        print(f"  {row['status'].upper()}: {row['name']}")
    return 1 if faults else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("overrides", nargs="*", metavar="key.sub=value", help="changes of the recipe")
    option("--recipe", type=path_argument, default=ROOT / "configs/frih.yaml", help="default: configs/frih.yaml")
    option("--device", choices=["auto", "cpu", "cuda"], default="auto")
    option("--quick", action="store_true", help="less of everything: a minute on a GPU")
    option("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="parts (default: all)")
    option("--size", type=int, metavar="PIXELS", help="data.size; default: the recipe's")
    option("--batches", type=int, nargs="+", metavar="N", help="batches to time; default: up to 128 on GPUs")
    option("--precisions", nargs="+", choices=list(PRECISIONS), help="default: all on GPUs, fp32 bf16 on CPUs")
    option("--minutes", type=float, metavar="M", help="skip what is left after so long (default: 3, on CPUs 10)")
    option(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="torch.compile as well, at the end, while there is time; default: on GPUs, unless --quick",
    )
    option("--out", type=path_argument, default=Path("outputs/machine"), metavar="DIR", help="folder of machine.json")
    args = parser.parse_intermixed_args()
    if args.batches and min(args.batches) < 1:
        raise UserError("--batches: must be 1 or more")
    if args.minutes is not None and args.minutes <= 0:
        raise UserError(f"--minutes: must be above 0, not {args.minutes:g}")
    return args


if __name__ == "__main__":
    run_command(main)
