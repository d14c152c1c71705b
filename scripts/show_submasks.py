"""Shows how a foreground is divided: its submasks in colours, their sizes, and their decision graph.

    python scripts/show_submasks.py IMAGE MASK --out FILE
    python scripts/show_submasks.py IMAGE MASK --out FILE --cutoffs 0.01 0.05 0.1 0.2 0.3 0.4
    python scripts/show_submasks.py IMAGE MASK --out FILE --method kmeans --clusters 4 8

Several cutoffs or numbers of clusters are shown side by side. Images are resized to 256x256, as the network sees them, and
divided so, but shown in their own shape; --size 0 keeps their own size. The suffix of FILE (.png, .pdf, .svg, ...) sets its
format.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from frih.common.drawing import PALETTE
from frih.common.errors import UserError, extra, run_command
from frih.common.paths import path_argument
from frih.submasks import DensityPeaks, KMeans, density_peaks, extract_submasks, kmeans
from frih.submasks.extract import METHODS

with extra("train"):
    from matplotlib.axes import Axes
    from matplotlib.colors import hsv_to_rgb
    from matplotlib.figure import Figure

    from frih.data.images import HALF, open_mask, open_rgb
    from frih.data.transforms import render, whole

LEVEL = 1 / 255 / 3**0.5
"""The least distance between two colours, in either unit."""
Division = DensityPeaks | KMeans
INK, FAINT = "#222222", "#8a8a8a"


def main() -> int:
    """Draws the division that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=path_argument)
    parser.add_argument("mask", type=path_argument, help="white = foreground")
    parser.add_argument("--out", type=path_argument, required=True, metavar="FILE")
    parser.add_argument("--method", choices=METHODS, default="cfsfdp", help="default: cfsfdp")
    parser.add_argument(
        "--clusters", type=int, nargs="+", default=[8], metavar="K", help="of kmeans and random; default: 8"
    )
    parser.add_argument("--cutoffs", type=float, nargs="+", default=[0.1], metavar="D_C", help="default: 0.1")
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--min-density", type=int, default=10)
    parser.add_argument("--distance", choices=["euclidean", "normalized"], default="euclidean")
    parser.add_argument("--size", type=int, default=256, help="side in pixels; 0: the image's own size (default: 256)")
    args = parser.parse_args()
    composite, mask, shape = read(args.image, args.mask, args.size)
    try:
        found = divide(composite, mask, args)
    except ValueError as error:
        raise UserError(f"--{str(error).replace('min_density', 'min-density')}") from None
    save(draw(composite, mask, found, shape), args.out)
    for name, one in found.items():
        shares = ", ".join(percent(share) for share in sizes(one) / mask.sum())
        print(f"{name}: {count(one)} ({shares})")
    return 0


def divide(composite: np.ndarray, mask: np.ndarray, args: argparse.Namespace) -> dict[str, Division]:
    """The divisions that the command line asks for, by their names."""
    colors = composite[mask]
    if args.method == "whole":
        return {"whole": by_place(composite, mask, method="whole")}
    if args.method == "random":
        return {
            f"random {parts}": by_place(composite, mask, method="random", clusters=parts) for parts in args.clusters
        }
    if args.method == "kmeans":
        return {f"k-means {clusters}": kmeans(colors, clusters) for clusters in args.clusters}
    decision, name = ("gamma", "gamma, cutoff") if args.method == "gamma" else ("delta", "cutoff")
    options = args.candidates, args.min_density, args.distance, decision
    return {f"{name} {cutoff:g}": density_peaks(colors, cutoff, *options) for cutoff in args.cutoffs}


def by_place(composite: np.ndarray, mask: np.ndarray, **options: Any) -> KMeans:
    """A division that does not look at colours. Its centres are the mean colours of its parts."""
    labels = extract_submasks(composite, mask, **options)[mask]
    means = [composite[mask][labels == label].mean(axis=0) for label in range(1, labels.max() + 1)]
    return KMeans(labels, np.array(means))


def read(image: Path, mask: Path, size: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """An image (H, W, 3) uint8, its foreground (H, W) bool, and its own width and height."""
    composite, grey = open_rgb(image), open_mask(mask)
    if grey.size != composite.size:
        theirs, ours = ("{} x {}".format(*one.size) for one in (grey, composite))
        raise UserError(f"{mask}: is {theirs} pixels but {image} is {ours}; they must be of one size")
    if size < 0:
        raise UserError(f"--size: must be 0 or more, not {size}")
    if size:
        pixels, foreground = render(composite, whole(composite), size), render(grey, whole(grey), size) >= HALF
    else:
        pixels, foreground = np.asarray(composite), np.asarray(grey) >= HALF
    if not foreground.any():
        raise UserError(f"{mask}: holds no foreground, so there is nothing to divide; it must be white (128 and above)")
    return pixels, foreground, composite.size


def draw(composite: np.ndarray, mask: np.ndarray, found: dict[str, Division], shape: tuple[int, int]) -> Figure:
    """One division with its sizes and its reason (:func:`draw_reason`), or several side by side with their reasons."""
    sweep = len(found) > 1
    columns, wide = len(found) + 1, 3.1 if sweep else 5.5
    tall = [min(max(wide * shape[1] / shape[0], 0.5 * wide), 2 * wide), 3.1 if sweep else 4.5]
    figure = Figure(figsize=(wide * columns, sum(tall)), layout="constrained", facecolor="white")
    axes = figure.subplots(2, columns, height_ratios=tall)
    if sweep:
        show_image(axes[0, 0], composite, "Composite", shape)
        show_image(axes[1, 0], np.where(mask[..., None], composite, 245), "Foreground", shape)
    else:
        own, seen = ("{} x {}".format(*size) for size in (shape, mask.shape[::-1]))
        show_image(axes[0, 0], composite, f"Composite ({own if own == seen else f'{own}, divided at {seen}'})", shape)
        draw_sizes(axes[1, 0], *found.values())
    for column, (name, one) in enumerate(found.items(), start=1):
        title = f"{name.capitalize()}: {count(one)}" if sweep else f"{count(one)}, {name}"
        show_image(axes[0, column], paint(composite, mask, one), title, shape)
        draw_reason(axes[1, column], composite[mask], one)
    return figure


def show_image(axes: Axes, image: np.ndarray, title: str, shape: tuple[int, int]) -> None:
    """An image without axes, stretched to a width and height."""
    axes.imshow(image, interpolation="nearest", aspect=shape[1] / shape[0] * image.shape[1] / image.shape[0])
    axes.set_title(title, fontsize=11, color=INK)
    axes.set_axis_off()


def draw_sizes(axes: Axes, one: Division) -> None:
    """A bar for each submask: its share of the foreground, its number of pixels, and its centre's own colour."""
    pixels = sizes(one)
    shares, places = pixels / pixels.sum(), np.arange(1, len(pixels) + 1)
    axes.barh(places, shares, color=label_colors(len(pixels)), height=0.72)
    for place, share, number in zip(places.tolist(), shares.tolist(), pixels.tolist(), strict=True):
        axes.text(share + 0.015, place, f"{number:,} px, {percent(share)}", va="center", fontsize=9, color=INK)
    axes.scatter(np.full(len(places), -0.035), places, s=95, c=one.centers / 255, edgecolors=FAINT, linewidths=0.6)
    axes.set(xlim=(-0.075, max(1.0, shares.max() + 0.34)), ylim=(max(len(pixels), 4) + 0.6, 0.4), yticks=places)
    axes.set_xticks(np.linspace(0, 1, 5), ["0%", "25%", "50%", "75%", "100%"])
    axes.set_title("Share of the foreground (dot: the centre's own colour)", fontsize=11, color=INK)
    axes.set_ylabel("submask", color=INK)
    tidy(axes)
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def draw_reason(axes: Axes, colors: np.ndarray, one: Division) -> None:
    """Every distinct colour in its submask's colour, with numbered centres: the decision graph, or the colours alone."""
    rows = np.unique(colors, axis=0, return_index=True)[1]
    paints = label_colors(len(one.centers))
    if isinstance(one, DensityPeaks):
        points = np.column_stack([one.density, one.delta.clip(LEVEL)])  # if there is one colour, its delta is 0
        centers = points[[(colors == center).all(axis=1).argmax() for center in one.centers]]
        axes.set(xscale="log", yscale="log", xlim=(0.8, max(one.density.max() * 1.9, 20)), ylim=(LEVEL * 0.8, 2.5))
        axes.set_yticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
        title, across, up = "Decision graph", r"density $\rho$ (pixels)", r"$\delta$"
    else:
        middle, covariance = colors.mean(axis=0), np.atleast_2d(np.cov(colors.T, bias=True))
        plane = np.linalg.eigh(covariance)[1][:, :0:-1]
        points, centers = (colors - middle) @ plane, (one.centers - middle) @ plane
        axes.set_aspect("equal", adjustable="datalim")
        title, across, up = "Colours", "first principal axis (levels)", "second"
    axes.scatter(*points[rows].T, s=7, c=paints[one.labels[rows] - 1], alpha=0.45, lw=0, rasterized=True)
    axes.scatter(*centers.T, s=150, c=paints, edgecolors=INK, linewidths=0.9, zorder=3)
    for number, (x, y) in reversed(list(enumerate(centers.tolist(), start=1))):
        axes.text(x, y, str(number), ha="center", va="center", fontsize=8, color=INK, zorder=4)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.set_title(title, fontsize=11, color=INK)
    tidy(axes)
    axes.grid(color="#ececec", linewidth=0.8)


def tidy(axes: Axes) -> None:
    """Removes the upper and the right line of the frame."""
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)


def paint(composite: np.ndarray, mask: np.ndarray, one: Division) -> np.ndarray:
    """The submasks in their colours over a faded grey composite."""
    grey = composite.mean(axis=2, keepdims=True) / 255
    image = np.repeat(0.78 + 0.18 * grey, 3, axis=2)
    image[mask] = label_colors(len(one.centers))[one.labels - 1] * (0.72 + 0.28 * grey[mask])
    return image.clip(0, 1)


def label_colors(number: int) -> np.ndarray:
    """(number, 3) RGB in [0, 1], a colour for each submask; from the eleventh on they are spread over the hues."""
    more = [hsv_to_rgb((0.618 * k % 1.0, 0.55, 0.85)) for k in range(max(0, number - 10))]
    return np.vstack([PALETTE[1:] / 255, *more])[:number]


def sizes(one: Division) -> np.ndarray:
    """Pixels of each submask."""
    return np.bincount(one.labels, minlength=len(one.centers) + 1)[1:]


def percent(share: float) -> str:
    """A share, rounded, but not to 0."""
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def count(one: Division) -> str:
    """How many submasks, in words."""
    return f"{len(one.centers)} submask" + ("s" if len(one.centers) > 1 else "")


def save(figure: Figure, path: Path) -> None:
    """Writes a figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path, dpi=130)
    except (ValueError, OSError) as error:
        raise UserError(f"--out: {path} cannot be written ({error})") from None


if __name__ == "__main__":
    run_command(main)
