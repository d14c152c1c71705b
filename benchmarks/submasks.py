"""How long the submasks of an image take, compared with the literal rule and well-known clusterings.

    python benchmarks/submasks.py [--root ROOT=data/sample] [--images N]

ROOT is a dataset in iHarmony4's layout, of which the test split is used; ``make quickstart`` (or scripts/make_sample.py) makes
the default one. Images are resized to 256x256 as for evaluation. Everything is measured in one run and after compilation. Times
are processor time of one core, so other work on the machine hardly changes them; the fastest of --repeats calls counts.
"""

import argparse
import math
import multiprocessing
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from frih.common.errors import UserError, run_command
from frih.data.iharmony4 import read_split
from frih.data.images import HALF, open_mask, open_rgb
from frih.data.transforms import render, whole
from frih.submasks import density_peaks, extract_submasks, kmeans
from frih.submasks.palette import distinct_colors
from frih.submasks.patience import Patience

Foreground = tuple[np.ndarray, np.ndarray]

CUTOFFS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4)
SIZE = 256
METHODS: dict[str, dict[str, Any]] = {
    "cfsfdp": {},
    "gamma": {"method": "gamma"},
    "kmeans, 4": {"method": "kmeans", "clusters": 4},
    "kmeans, 8": {"method": "kmeans", "clusters": 8},
    "whole": {"method": "whole"},
}
"""Settings of ``submasks.method``, by name."""
STARTS = 10
"""Random starts of scikit-learn's k-means."""
LARGE = (4000, 5000)
"""Height and width of 20 megapixels."""


def main() -> int:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data/sample"))
    parser.add_argument("--images", type=int, metavar="N", help="take only N of the composites, evenly spaced")
    parser.add_argument("--repeats", type=int, default=3, help="calls of which the fastest counts (default: 3)")
    parser.add_argument("--yardsticks", type=int, default=5, help="images for the slow comparisons (default: 5)")
    args = parser.parse_args()
    if min(args.repeats, args.yardsticks, args.images or 1) < 1:
        raise UserError("--images, --repeats and --yardsticks: must be 1 or more")
    images = read_images(args.root, args.images)
    print_heading(args.root, images)
    print_cutoffs(images, args.repeats)
    print_methods(images, args.repeats)
    print_kmeans(images, args.yardsticks)
    print_counts(images)
    print_synthetic(args.repeats)
    print_yardsticks(images, args.yardsticks)
    print_large(images)
    return 0


def read_images(root: Path, count: int | None) -> list[Foreground]:
    """Composites and masks as evaluation sees them; those without foreground are left out."""
    items = read_split(root, "test").items
    if count is not None:
        items = [items[place] for place in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]
    images = []
    for item in items:
        composite, mask = open_rgb(item.composite), open_mask(item.mask)
        image = render(composite, whole(composite), SIZE), render(mask, whole(mask), SIZE) >= HALF
        if image[1].any():
            images.append(image)
    return images


def print_heading(root: Path, images: Sequence[Foreground]) -> None:
    """What was measured, on what."""
    foregrounds = [composite[mask] for composite, mask in images]
    pixels, colors = np.array([(len(part), distinct(part)) for part in foregrounds]).T
    versions = ", ".join(f"{name} {installed(name)}" for name in ("numba", "numpy", "scikit-learn"))
    print(f"command  python {shlex.join(sys.argv)}")
    print(f"commit   {commit()}")
    print(f"machine  {cpu()}; Python {platform.python_version()}, {versions}")
    print(f"images {len(images)} composites of {root} at {SIZE}x{SIZE}")
    print(f"         foreground pixels: mean {pixels.mean():.0f}, most {pixels.max()}")
    print(f"         distinct colours: mean {colors.mean():.0f}, most {colors.max()}")


def print_cutoffs(images: Sequence[Foreground], repeats: int) -> None:
    """Times of extract_submasks on real composites."""
    print("\nextract_submasks on the composites, ms an image")
    print("  cutoff     mean   median      p99    worst   mean K")
    for cutoff in CUTOFFS:
        found = [fastest(extract_submasks, *image, cutoff, repeats=repeats) for image in images]
        print(f"  {cutoff:<6}{summary([spent for spent, _ in found])}{np.mean([k.max() for _, k in found]):9.2f}")


def summary(times: Sequence[float]) -> str:
    """Mean, median, 99th percentile and maximum, from seconds to milliseconds."""
    figures = np.mean(times), np.median(times), np.percentile(times, 99), np.max(times)
    return "".join(f"{1e3 * figure:9.2f}" for figure in figures)


def print_methods(images: Sequence[Foreground], repeats: int) -> None:
    """Times of each method on real composites, image by image, so that all run under the same conditions."""
    times: dict[str, list[float]] = {name: [] for name in METHODS}
    counts: dict[str, list[int]] = {name: [] for name in METHODS}
    for image in images:
        for name, options in METHODS.items():
            spent, labels = fastest(partial(extract_submasks, **options), *image, repeats=repeats)
            times[name].append(spent)
            counts[name].append(labels.max())
    print("\nextract_submasks by method, cutoff 0.1, ms an image")
    print("  method          mean   median      p99    worst  to cfsfdp   mean K")
    for name, spent in times.items():
        ratio = np.sum(spent) / np.sum(times["cfsfdp"])
        print(f"  {name:11}{summary(spent)}{ratio:11.2f}{np.mean(counts[name]):9.2f}")


def print_kmeans(images: Sequence[Foreground], count: int) -> None:
    """The error of the deterministic k-means over the least error of several random starts, and the times of both."""
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        return
    print(f"\nk-means: squared error over the least of scikit-learn's {STARTS} random starts (k-means++), tol 0")
    print("  clusters     ours, mean    worst   one start, mean    worst   ms, ours  one start")
    chosen = [images[i * len(images) // min(count, len(images))] for i in range(min(count, len(images)))]
    for clusters in (4, 8):
        ours, theirs, times = [], [], []
        for composite, mask in chosen:
            colors = composite[mask]
            palette, weights = np.unique(
                colors, axis=0, return_counts=True
            )  # so theirs does not grow with pixels either
            random = [KMeans(clusters, n_init=1, random_state=seed, max_iter=1000, tol=0) for seed in range(STARTS)]
            spent = [fastest(lambda one: one.fit(palette, sample_weight=weights), one, repeats=1)[0] for one in random]  # noqa: B023
            least = min(one.inertia_ for one in random)
            own, found = fastest(kmeans, colors, clusters, repeats=3)
            ours.append(np.square(colors - found.centers[found.labels - 1]).sum() / max(least, 1))
            theirs += [one.inertia_ / max(least, 1) for one in random]
            times.append((1e3 * own, 1e3 * np.mean(spent)))
        figures = f"{np.mean(ours):15.3f}{max(ours):9.3f}{np.mean(theirs):18.3f}{max(theirs):9.3f}"
        print(f"  {clusters:8}{figures}" + "".join(f"{one:11.1f}" for one in np.mean(times, axis=0)))


def print_counts(images: Sequence[Foreground]) -> None:
    """The histogram of K at the paper's cutoff."""
    counts = np.bincount([extract_submasks(*image).max() for image in images], minlength=11)[1:]
    print("\nsubmasks an image (K) at cutoff 0.1")
    for k, count in enumerate(counts, start=1):
        print(f"  {k:3}  {count:5}  {'#' * round(60 * count / counts.max())}")


def print_synthetic(repeats: int) -> None:
    """Times on full frames that are not photos."""
    print(f"\nextract_submasks on full frames of {SIZE}x{SIZE}, ms")
    print("                     " + "".join(f"{cutoff:9}" for cutoff in CUTOFFS))
    mask = np.ones((SIZE, SIZE), bool)
    for name, frame in synthetic().items():
        times = [fastest(extract_submasks, frame, mask, cutoff, repeats=repeats)[0] for cutoff in CUTOFFS]
        print(f"  {name:19}" + "".join(f"{1e3 * spent:9.2f}" for spent in times))
    held = in_new_process(time_and_memory, synthetic()["uniform noise"], mask)[1]
    print(f"  memory that a call on the noise holds at its peak: {held:.0f} MB")


def synthetic() -> dict[str, np.ndarray]:
    """Full frames, by name."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    two = np.where(rng.random((SIZE, SIZE, 1)) < 0.5, np.uint8(40), np.uint8(200)) * np.ones(3, np.uint8)
    return {"uniform noise": noise, "flat": np.full((SIZE, SIZE, 3), 90, np.uint8), "two colours": two}


def print_yardsticks(images: Sequence[Foreground], count: int) -> None:
    """Other ways to cluster the same foregrounds, those of medium size."""
    by_size = sorted(images, key=lambda image: int(image[1].sum()))
    start = max(0, (len(by_size) - count) // 2)
    foregrounds = [composite[mask] for composite, mask in by_size[start : start + count]]
    ways: dict[str, Callable[[np.ndarray], object]] = {
        "density_peaks": density_peaks,
        "the literal rule, N^2 in NumPy": literal,
        **sklearn_ways(),
    }
    print(f"\n{len(foregrounds)} foregrounds of {len(foregrounds[0])} to {len(foregrounds[-1])} pixels, cutoff 0.1")
    print("                                  ms an image     ratio")
    base = 0.0
    for name, way in ways.items():
        spent = float(np.mean([fastest(way, colors, repeats=1 if base else 5)[0] for colors in foregrounds]))
        base = base or spent
        print(f"  {name:30}{1e3 * spent:14.1f}{spent / base:10.0f}")


def literal(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations 1 and 2 as they stand, pixel against pixel: densities and deltas."""
    points = colors.astype(np.int32)
    density = np.array([np.count_nonzero(np.square(points - point).sum(axis=1) < 25.5**2) for point in points])
    delta = np.zeros(len(points))
    for i, point in enumerate(points):
        squared, denser = np.square(points - point).sum(axis=1), density > density[i]
        delta[i] = np.sqrt(squared[denser].min() if denser.any() else squared.max())
    return density, delta


def sklearn_ways() -> dict[str, Callable[[np.ndarray], object]]:
    """Clusterings of scikit-learn at the same distance, if it is installed."""
    try:
        from sklearn.cluster import DBSCAN, MeanShift
    except ImportError:
        print("\nscikit-learn is left out, because it is not installed: pip install -e .[benchmarks]")
        return {}
    return {
        "scikit-learn's DBSCAN": lambda colors: DBSCAN(eps=25.5, min_samples=10).fit_predict(colors),
        "scikit-learn's MeanShift": lambda colors: MeanShift(bandwidth=25.5, bin_seeding=True).fit_predict(colors),
    }


def print_large(images: Sequence[Foreground]) -> None:
    """Time and memory of full frames of 20 megapixels."""
    print(f"\nextract_submasks on {LARGE[1]}x{LARGE[0]} full frames, cutoff 0.1")
    print("                        colours        s   extra MB")
    by_colors = sorted((composite for composite, _ in images), key=lambda one: distinct(one.reshape(-1, 3)))
    typical = enlarged(by_colors[len(by_colors) // 2])
    rng = np.random.default_rng(0)
    grain = typical.copy()
    for row in grain:  # row by row, since the random numbers take eight times the image's memory
        row[:] = (row + rng.normal(0, 2, row.shape)).clip(0, 255)
    frames = {
        "flat": np.full((*LARGE, 3), 90, np.uint8),
        "typical composite": typical,
        "the same with grain": grain,
        "most colourful": enlarged(by_colors[-1]),
    }
    mask = np.ones(LARGE, bool)
    for name, frame in frames.items():
        spent, held = in_new_process(time_and_memory, frame, mask)
        print(f"  {name:19}{distinct(frame.reshape(-1, 3)):10}{spent:9.2f}{held:11.0f}", flush=True)


def enlarged(composite: np.ndarray) -> np.ndarray:
    """A composite at 20 megapixels."""
    return np.array(Image.fromarray(composite).resize(LARGE[::-1], Image.Resampling.BICUBIC))


def time_and_memory(composite: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """Of one call: seconds, and the megabytes that it holds at its peak, with its result (measured on Linux only)."""
    warm_up()
    before = reset_peak()
    start = time.process_time()
    extract_submasks(composite, mask)
    return time.process_time() - start, memory("VmHWM") - before


def warm_up() -> None:
    """Compiles everything, or loads what was compiled before."""
    Patience.over = True
    extract_submasks(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool))


def in_new_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Calls a function in a new process, so that its memory is empty."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def reset_peak() -> float:
    """Resets the peak of this process's memory to its present size, and returns that size in megabytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return math.nan
    return memory("VmRSS")


def memory(entry: str) -> float:
    """An entry of the process's status, in megabytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return math.nan
    return next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith(entry))


def fastest(function: Callable[..., Any], *arguments: object, repeats: int) -> tuple[float, Any]:
    """Seconds of the fastest call, and the result."""
    warm_up()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function(*arguments)
        times.append(time.process_time() - start)
    return min(times), result


def distinct(colors: np.ndarray) -> int:
    """How many distinct ones there are among (N, 3) colours."""
    return len(distinct_colors(colors)[0])


def installed(name: str) -> str:
    """A package's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def commit() -> str:
    """The commit of this working tree, with "-dirty" if files were changed since."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return out.stdout.strip()


def cpu() -> str:
    """The processor's name, if the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    run_command(main)
