"""How much faster Harmonizer.batch is than single calls, and how much the results differ.

    python benchmarks/batch.py [IMAGES MASKS] [--weights WEIGHTS] [--device cuda] [--count N]

IMAGES and MASKS are folders or quoted patterns, as for ``frih harmonize``; the default is data/sample, which
scripts/make_sample.py makes. Single calls and batches take turns on the same N images in each round. Images are read from
files; results are not written. The first round, in which code is compiled or loaded, does not count.
"""

import argparse
import itertools
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch

from frih import Harmonizer
from frih.common.devices import choose_device, device_name
from frih.common.errors import UserError, run_command
from frih.common.processes import cores
from frih.harmonizing.harmonizer import PRETRAINED
from frih.harmonizing.pairs import find_pairs
from frih.submasks.patience import Patience


def main() -> int:
    """Prints seconds, their ratio and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="?", default="data/sample/*/composite_images/*", metavar="IMAGES")
    parser.add_argument("masks", nargs="?", default="data/sample/*/masks/*", metavar="MASKS")
    parser.add_argument("--weights", default=PRETRAINED, help="default: the weights that come with the software")
    parser.add_argument("--device", default="cpu", help="as for frih harmonize (default: cpu)")
    parser.add_argument("--count", type=int, default=32, metavar="N", help="images (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    args = parser.parse_args()
    if min(args.count, args.rounds) < 1:
        raise UserError("--count and --rounds: must be 1 or more")
    found, _ = find_pairs(args.images, args.masks)
    pairs = list(itertools.islice(itertools.cycle(found.items()), args.count))
    images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
    harmonizer = Harmonizer.load(args.weights, choose_device(args.device, "--device"))
    Patience.over = True
    spent: dict[str, list[float]] = {"single": [], "batch": []}
    for _ in range(1 + args.rounds):
        single, one_by_one = timed(lambda: (harmonizer(*pair) for pair in pairs))
        batch, together = timed(lambda: harmonizer.batch(images, masks))
        spent["single"].append(single)
        spent["batch"].append(batch)
    differences = [
        np.abs(np.asarray(one).astype(int) - np.asarray(other)) for one, other in zip(one_by_one, together, strict=True)
    ]
    seconds = {name: statistics.median(times[1:]) / len(pairs) for name, times in spent.items()}
    device = device_name(harmonizer.device) if harmonizer.device.type == "cuda" else platform.machine()
    print(f"python {shlex.join(sys.argv)}   torch {torch.__version__}, {device}, {cores()} cores")
    print(f"{len(pairs)} images, the network sees {harmonizer.size} x {harmonizer.size}")
    print(f"  single calls {1e3 * seconds['single']:7.1f} ms an image")
    print(f"  batch        {1e3 * seconds['batch']:7.1f} ms an image; ratio {seconds['single'] / seconds['batch']:.2f}")
    changed = sum(int(np.count_nonzero(one)) for one in differences) / sum(one.size for one in differences)
    print(
        f"  values that differ: {100 * changed:.3g} %, by at most {max(int(one.max()) for one in differences)} levels"
    )
    return 0


def timed(call: Callable[[], Iterable[object]]) -> tuple[float, list[object]]:
    """Seconds of a call, and its results."""
    start = time.perf_counter()
    results = list(call())
    return time.perf_counter() - start, results


if __name__ == "__main__":
    run_command(main)
