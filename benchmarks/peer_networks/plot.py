"""The plot by which one chooses: published PSNR against what a network costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from costs import Cost
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from peer_networks.published import PUBLISHED

OURS, OTHERS, INK, FAINT = "#c2410c", "#3b6ea8", "#222222", "#e6e6e6"
OF_US = ("base network", "FRIH")
STYLE = {
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#999999",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "svg.hashsalt": "frih",
}
AREA = 19.0
"""Square points of a marker, for a million parameters."""
DISTANCES = (4, 9, 16, 26, 38)
"""Points between the edge of a marker and its name, the best first."""
DIRECTIONS = [math.radians(degrees) for degrees in (0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202)]
"""Where its name may lie, the best first."""
Value = Callable[[Cost], float]


def draw(costs: Mapping[int, Mapping[str, Cost]], path: Path, time: str = "time") -> Figure:
    """Draws a panel of the time for each size of a batch, and one of multiply-adds.

    Args:
        costs: of the networks, by name, by size of the batch.
        path: of the drawing; its suffix says the format.
        time: what it is called.
    """
    panels: dict[str, tuple[Mapping[str, Cost], Value]] = {}
    for size, some in costs.items():
        panels[f"{time} an image, batch {size} (ms)"] = (some, lambda cost, size=size: 1e3 * cost.seconds / size)
    panels["multiply-adds an image (billions)"] = (next(iter(costs.values())), lambda cost: cost.multiply_adds / 1e9)
    with rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.3 * len(panels), 4.9), dpi=150, layout="constrained", facecolor="white")
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (label, panel) in zip(every, panels.items(), strict=True):
            _draw_points(axes, *panel)
            axes.set_xlabel(label)
        every[0].set_ylabel("PSNR on iHarmony4, as published (dB)")
        _explain(figure)
        figure.draw_without_rendering()  # names are placed by pixels
        for axes, panel in zip(every, panels.values(), strict=True):
            _draw_names(axes, *panel)
        figure.savefig(path)
    return figure


def _draw_points(axes: Axes, costs: Mapping[str, Cost], value: Value) -> None:
    if set(OF_US) <= costs.keys():
        line = [(value(costs[name]), PUBLISHED[name].psnr) for name in OF_US]
        axes.plot(*zip(*line, strict=True), color=OURS, linewidth=1.2, alpha=0.45, zorder=1)
    for name, cost in sorted(costs.items(), key=lambda one: -one[1].parameters):
        published, color = PUBLISHED[name], OURS if name in OF_US else OTHERS
        _marker(axes, (value(cost), published.psnr), cost.parameters / 1e6, color, published.masked)
    values, heights = [value(cost) for cost in costs.values()], [PUBLISHED[name].psnr for name in costs]
    axes.set(xscale="log", xlim=(min(values) / 2.5, max(values) * 2.5), ylim=(min(heights) - 0.6, max(heights) + 0.6))
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", length=0)
    axes.grid(color=FAINT, linewidth=0.8)


def _draw_names(axes: Axes, costs: Mapping[str, Cost], value: Value) -> None:
    """Writes each name beside its marker, where it covers no marker and no other name."""
    pixel = 72 / axes.figure.dpi
    points = {name: (value(cost), PUBLISHED[name].psnr) for name, cost in costs.items()}
    radii = {name: math.sqrt(AREA * cost.parameters / 1e6 / math.pi) / pixel for name, cost in costs.items()}
    markers = {name: Bbox([axes.transData.transform(points[name])] * 2).padded(radii[name]) for name in costs}
    taken = [*markers.values(), *(Bbox([point] * 2) for line in axes.lines for point in _along(line))]
    for name, point in points.items():
        style = {"color": OURS, "weight": "bold"} if name in OF_US else {"color": INK}
        text = axes.annotate(name, point, (0, 0), textcoords="offset points", ha="center", va="center", **style)
        text.set(in_layout=False, path_effects=[withStroke(linewidth=2.5, foreground="white")])
        box = _free(text.get_window_extent(), radii[name], 1 / pixel, taken, axes.bbox.padded(-4 / pixel))
        taken.append(box)
        text.set_position([pixel * (a - b) for a, b in zip(_middle(box), _middle(markers[name]), strict=True)])


def _free(text: Bbox, radius: float, point: float, taken: Sequence[Bbox], inside: Bbox) -> Bbox:
    """The first place of a text, beside the middle of where it is now, that overlaps nothing; else the first of all.

    Args:
        text: its box.
        radius: of the marker around that middle.
        point: its length in pixels, the unit of the boxes.
        taken: what may not be overlapped.
        inside: what may not be left.
    """
    places = []
    for distance, direction in product(DISTANCES, DIRECTIONS):
        x, y = math.cos(direction), math.sin(direction)
        away = radius + point * distance
        places.append(text.translated(x * (away + text.width / 2), y * (away + text.height / 2)))
    return next(
        (box for box in places if inside.x0 <= box.x0 and box.x1 <= inside.x1 and not box.count_overlaps(taken)),
        places[0],
    )


def _along(line: Line2D) -> NDArray[np.float64]:
    """Pixels along a straight line, close together."""
    ends = line.get_transform().transform(line.get_xydata())
    return np.linspace(*ends, 100)


def _middle(box: Bbox) -> tuple[float, float]:
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


def _marker(
    axes: Axes, xy: Sequence[float], millions: float, color: str, masked: bool, label: str = ""
) -> PathCollection:
    """Draws a circle for so many parameters: filled, or hollow if the PSNR is of the mask only."""
    face = "white" if masked else to_rgba(color, 0.35)
    return axes.scatter(*xy, s=AREA * millions, facecolor=face, edgecolor=color, linewidth=1.4, label=label)


def _explain(figure: Figure) -> None:
    """Says above the panels what colours, edges and sizes mean."""
    axes, nowhere = figure.axes[0], (float("nan"), float("nan"))
    kinds = {
        "FRIH and its base network (evaluator unpublished)": (OURS, False),
        "others: PSNR of the whole image": (OTHERS, False),
        "inside the mask only, which flatters": (OTHERS, True),
        "area: parameters": ("#888888", False),
    }
    handles = [_marker(axes, nowhere, 5, *kind, label) for label, kind in kinds.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4 if len(figure.axes) > 2 else 2)
