"""Plots of an evaluation as SVG. The page's style sheet sets their colours, so that they suit light and dark."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from frih.common.wording import printable
from frih.evaluation.tables import RATIOS

Array = NDArray[np.float64]

SERIES = ("#4477aa", "#cc6633", "#228866", "#aa3377", "#887722", "#557788")
"""Colours of the systems, in order; the style sheet has a variable for each."""
INPUT, INK, FAINT = "#808488", "#111213", "#c9c8c7"
VARIABLES = {INPUT: "--input", INK: "--ink", FAINT: "--rule", **{color: f"--s{i}" for i, color in enumerate(SERIES)}}
"""Colours of the drawings, and the style sheet's variables that replace them."""
MANY = 2500
"""A cloud of more points is drawn as pixels, to keep the page small."""


class Plot(NamedTuple):
    """A drawing and its caption."""

    title: str
    svg: str
    description: str


class Figures(NamedTuple):
    """Scores of one system, one an image, in the order of the page's rows."""

    psnr: Array
    fmse: Array


def draw_plots(
    systems: Mapping[str, Figures], composites: Figures | None, ratios: Array, submasks: Array, subsets: Sequence[str]
) -> list[Plot]:
    """All plots.

    Args:
        systems: by name.
        composites: scores of the composites themselves; without them, plots of gains are left out.
        ratios: foreground ratios, 0..1.
        submasks: K of each image.
        subsets: of each image.
    """
    if composites is None:
        return [_by_subset(systems, subsets)]
    gains = {name: one.psnr - composites.psnr for name, one in systems.items()}
    return [
        _gain_by_ratio(gains, ratios),
        _gain_by_submasks(gains, submasks),
        _errors(systems, composites),
        _by_subset({"Input composite": composites, **systems}, subsets, [INPUT, *SERIES]),
    ]


def _gain_by_ratio(gains: Mapping[str, Array], ratios: Array) -> Plot:
    def draw(axes: Axes) -> None:
        percent = 100 * ratios
        axes.set_xscale("log")
        for (name, gain), color in zip(gains.items(), SERIES, strict=False):
            known = (percent > 0) & np.isfinite(gain)
            _cloud(axes, percent[known], gain[known], color, len(gains))
            centres, medians = _running_median(percent[known], gain[known])
            axes.plot(centres, medians, color=color, linewidth=2, label=_label(name))
        for _, bound in list(RATIOS.values())[:-1]:
            axes.axvline(100 * bound, color=FAINT, linewidth=0.8, zorder=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="foreground, % of the image", ylabel="PSNR gain over the composite, dB")
        axes.set_xticks([1, 2, 5, 10, 20, 50, 100], minor=False)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        if (ratios > 0).any():
            axes.set_xlim(0.85 * percent[ratios > 0].min(), 1.15 * percent.max())
        _legend(axes, len(gains))

    medians = "; ".join(f"{name} {_median(gain):+.2f} dB" for name, gain in gains.items())
    return Plot(
        "Gain and size of the foreground",
        _draw(draw),
        f"PSNR gain over the composite against the foreground's share of the image. Median gain: {medians}. "
        "Lines are running medians; thin lines part the paper's ranges.",
    )


def _gain_by_submasks(gains: Mapping[str, Array], submasks: Array) -> Plot:
    counts = sorted({int(k) for k in submasks})

    def draw(axes: Axes) -> None:
        for place, (gain, color) in enumerate(zip(gains.values(), SERIES, strict=False)):
            parts = [_known(gain[submasks == k]) for k in counts]
            _boxes(axes, parts, place, len(gains), color)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(xlabel="submasks K (below: images)", ylabel="PSNR gain over the composite, dB")
        axes.set_xticks(range(len(counts)), [f"{k}\n{np.count_nonzero(submasks == k)}" for k in counts])
        _legend_of(axes, list(gains))

    return Plot(
        "Gain and number of submasks",
        _draw(draw),
        f"Boxes of the PSNR gain for each number of submasks, {counts[0]} to {counts[-1]}. {BOX}",
    )


def _errors(systems: Mapping[str, Figures], composites: Figures) -> Plot:
    def draw(axes: Axes) -> None:
        axes.set(xscale="log", yscale="log")
        lowest, highest = np.inf, 0.0
        for (name, one), color in zip(systems.items(), SERIES, strict=False):
            known = (composites.fmse > 0) & (one.fmse > 0)
            x, y = composites.fmse[known], one.fmse[known]
            _cloud(axes, x, y, color, len(systems), _label(name))
            if len(x):
                lowest, highest = min(lowest, x.min(), y.min()), max(highest, x.max(), y.max())
        if highest > 0:
            axes.plot([lowest, highest], [lowest, highest], color=INK, linewidth=0.8)
        axes.set(xlabel="fMSE of the composite", ylabel="fMSE of the result")
        decades = np.log10(highest / lowest) if highest > 0 else 0
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        _legend(axes, len(systems))

    shares = "; ".join(
        f"{name} {100 * np.mean(one.fmse[known] < composites.fmse[known]):.0f} %"
        for name, one in systems.items()
        if (known := np.isfinite(one.fmse)).any()
    )
    return Plot(
        "Foreground error before and after",
        _draw(draw),
        f"fMSE of the result against that of the composite, on logarithmic scales. "
        f"Below the diagonal the result is better: {shares} of the images.",
    )


def _by_subset(systems: Mapping[str, Figures], subsets: Sequence[str], colors: Sequence[str] = SERIES) -> Plot:
    names = list(dict.fromkeys(subsets))

    def draw(axes: Axes) -> None:
        member = {name: np.array([subset == name for subset in subsets]) for name in names}
        for place, (one, color) in enumerate(zip(systems.values(), colors, strict=False)):
            _boxes(axes, [_known(one.psnr[member[name]]) for name in names], place, len(systems), color)
        axes.set(ylabel="PSNR, dB")
        axes.set_xticks(range(len(names)), [*map(printable, names)], rotation=15 if len(names) > 4 else 0)
        _legend_of(axes, list(systems), colors)

    medians = "; ".join(f"{name} {_median(one.psnr):.2f} dB" for name, one in systems.items())
    return Plot("PSNR in each sub-dataset", _draw(draw), f"Boxes of the PSNR. Median over all images: {medians}. {BOX}")


BOX = "A box holds the middle half, its line is the median, whiskers reach from the 5th to the 95th percentile."


def _draw(draw: Callable[[Axes], None]) -> str:
    """Draws into new axes and returns ``<svg>...</svg>`` for a page."""
    settings: Any = {
        "text.parse_math": False,  # names may hold "$"
        "svg.fonttype": "none",
        "svg.hashsalt": "frih",
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.edgecolor": FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader of the page has the fonts
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.5, alpha=0.6)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, dpi=160, metadata={"Date": None, "Creator": None})
    return _for_page(file.getvalue())


def _for_page(svg: str) -> str:
    """The drawing without prologue, metadata, size and names of groups, in the style sheet's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg


def _cloud(axes: Axes, x: Array, y: Array, color: str, systems: int, name: str | None = None) -> None:
    alpha = (0.45 if len(x) < 1000 else 0.25) / (1 if systems == 1 else 1.3)
    many = len(x) > MANY
    axes.plot(
        x,
        y,
        "o",
        color=color,
        alpha=alpha,
        markersize=3.2,
        markeredgewidth=0,
        label=name and _label(name),
        rasterized=many,
    )


def _running_median(x: Array, y: Array) -> tuple[Array, Array]:
    """Medians of about twelve equal parts, by x."""
    order = np.argsort(x, kind="stable")
    parts = [part for part in np.array_split(order, max(1, min(12, len(order) // 8))) if len(part)]
    return np.array([np.median(x[part]) for part in parts]), np.array([np.median(y[part]) for part in parts])


def _boxes(axes: Axes, parts: Sequence[Array], place: int, systems: int, color: str) -> None:
    """Boxes of one system, beside those of the others at each position; there is none for a part without images."""
    width = 0.8 / systems
    for position, values in enumerate(parts):
        if len(values):
            axes.boxplot(
                values,
                positions=[position + (place - (systems - 1) / 2) * width],
                widths=0.75 * width,
                whis=(5, 95),
                showfliers=False,
                manage_ticks=False,
                patch_artist=True,
                boxprops={"facecolor": color, "alpha": 0.35, "edgecolor": color},
                whiskerprops={"color": color},
                capprops={"color": color},
                medianprops={"color": color, "linewidth": 2},
            )


def _legend(axes: Axes, systems: int) -> None:
    if systems > 1:
        for handle in filter(None, axes.legend(loc="best", handlelength=1.2).legend_handles):
            handle.set_alpha(1)


def _legend_of(axes: Axes, names: Sequence[str], colors: Sequence[str] = SERIES) -> None:
    """A legend of boxes, above them."""
    if len(names) > 1:
        handles = [Patch(facecolor=color, label=_label(name)) for name, color in zip(names, colors, strict=False)]
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=min(3, len(names)))


def _label(name: str) -> str:
    """A name in a legend, which leaves out those that begin with ``_``: a mark without width stands before it."""
    return f"\u2060{printable(name)}" if name.startswith("_") else printable(name)


def _known(values: Array) -> Array:
    found: Array = values[np.isfinite(values)]
    return found


def _median(values: Array) -> float:
    known = _known(values)
    return float(np.median(known)) if len(known) else float("nan")
