"""A table and the formats it is written in: text for a console, CSV, Markdown, LaTeX."""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import NamedTuple

from frih.common.columns import columns_of, padded, shortened, terminal_width, wrapped
from frih.common.wording import printable
from frih.metrics import HARM, METRICS, PAPER

MAIN = (*PAPER, *HARM)
"""The scores of the main tables: the paper's, and the shares of images made worse."""
FINE = ("ssim", "fssim", "lpips")
"""Scores below 1, which are printed with four decimals."""
_BESIDE = ("won", "wins", "limit")
"""Columns that say more of the one before, and stay beside it."""
_LEAST_NAME = 12
"""Columns that a name keeps, whatever the width."""
_BETTER = {metric.label: metric.better for metric in (METRICS | HARM).values()}
"""Which figures are better, by the heading of their column."""


class Table(NamedTuple):
    """Groups of figures side by side, each by all metrics; a line for each method."""

    corner: str
    groups: list[str]
    images: list[int]
    """Images in each group; empty where groups are not made of images."""
    lines: list[list[str]]
    """The method's name, then its figures, group by group."""
    metrics: tuple[str, ...] = PAPER
    """Names of scores; empty where each group has one figure."""
    title: str = ""
    published: int = 0
    """This many lines, the first ones, are copied from a paper."""
    protocols: list[str] = []  # noqa: RUF012 - never changed
    """The protocol of each line, a second column. Empty: all have one, which the text around the table names."""
    notes: tuple[str, ...] = ()
    contests: tuple[tuple[int, ...], ...] = ()
    """Numbers of the lines that compete, from 0 on, contest by contest. Markdown, LaTeX and HTML print :meth:`best` in bold."""
    brief: tuple[str, ...] = ()
    """Those of the metrics that a console shows where there is no room for all; empty where all are always shown."""

    def flat(self) -> list[list[str]]:
        """Cells for a CSV file, under one line of headings, which have the percent signs."""
        names = [f" {metric}{' %' * (metric in HARM)}" for metric in self.metrics] or [""]
        headings = [*self._corners(), *(printable(group) + name for group in self.groups for name in names)]
        return [headings, *([cell.removesuffix("%") for cell in line] for line in self._full())]

    def markdown(self) -> str:
        """Markdown, under two lines of headings as in the paper."""
        blanks = [""] * (self.step - 1)
        spread = [cell for title in self.titles() for cell in (title, *blanks)]
        rule = ["---"] * len(self._corners()) + ["---:"] * len(spread)
        headings = [[*map(markdown_text, line)] for line in ([*self._corners(), *spread], *self._headings())]
        lines = [headings[0], rule, *headings[1:], *self._body(markdown_text, "**{}**")]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        title = [f"**{markdown_text(self.title)}**"] if self.title else []
        return "\n\n".join([*title, table, *map(markdown_text, self.notes)])

    def latex(self) -> str:
        r"""A ``table`` for LaTeX, to be used with ``\usepackage{booktabs}``."""
        ends = len(self._corners())
        titles, rules = [_latex(title) for title in self.titles()], []
        if self.metrics:
            spans = [(ends + 1 + i * self.step, ends + (i + 1) * self.step) for i in range(len(self.groups))]
            titles = [rf"\multicolumn{{{self.step}}}{{c}}{{{title}}}" for title in titles]
            rules = [" ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in spans)]
        title = [self.title if self.title.endswith(".") else f"{self.title}."] if self.title else []
        caption = " ".join([*title, *self.notes])
        body = [_latex_line(line) for line in self._body(_latex, r"\textbf{{{}}}")]
        if 0 < self.published < len(body):
            body.insert(self.published, r"\midrule")
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                *([rf"\caption{{{_latex(caption)}}}"] if caption else []),
                rf"\begin{{tabular}}{{{'l' * ends}{(' ' + 'r' * self.step) * len(self.groups)}}}",
                r"\toprule",
                " & ".join([*map(_latex, self._corners()), *titles]) + r" \\",
                *rules,
                *(_latex_line([*map(_latex, line)]) for line in self._headings()),
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )

    def text(self) -> str:
        """Aligned columns for a console: one space between columns, two between groups."""
        lines, corners = [*self._headings(), *self._full()], self._corners()
        widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
        widths[: len(corners)] = map(max, widths, map(columns_of, corners))
        spans = []
        for first, title in zip(range(len(corners), len(widths), self.step), self.titles(), strict=True):
            room = sum(widths[first : first + self.step]) + self.step - 1
            widths[first] += max(0, columns_of(title) - room)
            spans.append(max(columns_of(title), room))
        body = [_aligned(line, widths, len(corners), self.step) for line in lines]
        body.insert(len(self._headings()), "-" * columns_of(body[0]))
        centred = [padded(title, span, str.center) for title, span in zip(self.titles(), spans, strict=True)]
        titles = "  ".join([*map(padded, corners, widths), *centred])
        caption = [self.title] if self.title else []
        return "\n".join(
            line.rstrip() for line in [*map(printable, caption), titles, *body, *map(printable, self.notes)]
        )

    def folded(self, width: int | None = None) -> str:
        """Text as :meth:`text` has it, in lines that fit: groups that do not stand below the first ones.

        Names are broken where not even one group fits beside them. Title and notes are wrapped.

        Args:
            width: of a line, in columns; by default that of the terminal.
        """
        width = width or terminal_width()
        texts = [part._with_names_of(width - part.width()).text() for part in self.split(width)]
        around = [wrapped(printable(text), width) for text in (self.title, *self.notes)]
        return "\n".join([*filter(None, around[:1]), "\n\n".join(texts), *around[1:]])

    def split(self, width: int) -> list["Table"]:
        """Tables of some of the groups each, without title and notes, as few as fit into so many columns of a console.

        A table of one group may be wider. What says more of the column before stays beside it.
        """
        ends = [i for i, group in enumerate(self.groups) if i and group not in _BESIDE] + [len(self.groups)]
        parts, start = [], 0
        while start < len(self.groups):
            first, *longer = (self.part(start, end) for end in ends if end > start)
            parts.append([first, *takewhile(lambda part: part.width() <= width, longer)][-1])
            start += len(parts[-1].groups)
        return parts

    def width(self) -> int:
        """Columns of a console that the lines take, title and notes aside."""
        return max(map(columns_of, self._replace(title="", notes=()).text().splitlines()))

    def only(self, metrics: Sequence[str]) -> "Table":
        """The table with only these of its metrics."""
        places = [self.metrics.index(metric) for metric in metrics]
        cells = [1 + i * self.step + place for i in range(len(self.groups)) for place in places]
        return self._replace(
            metrics=tuple(metrics), lines=[[line[0], *(line[i] for i in cells)] for line in self.lines]
        )

    def stacked(self) -> "Table":
        """The table with its groups below each other, and one column for each metric."""
        lines, protocols = [], []
        for i, title in enumerate(self.titles()):
            lines += [[title, *[""] * self.step]]
            lines += [[f"  {line[0]}", *line[1 + i * self.step : 1 + (i + 1) * self.step]] for line in self.lines]
            protocols += ["", *self.protocols] if self.protocols else []
        columns = [heading(metric) for metric in self.metrics]
        return Table(self.corner, columns, [], lines, (), self.title, protocols=protocols, notes=self.notes)

    def part(self, start: int, stop: int) -> "Table":
        """Some of the groups, without title and notes."""
        cells = slice(1 + start * self.step, 1 + stop * self.step)
        lines = [[line[0], *line[cells]] for line in self.lines]
        groups, images = self.groups[start:stop], self.images[start:stop]
        return self._replace(groups=groups, images=images, lines=lines, title="", notes=())

    def _with_names_of(self, room: int) -> "Table":
        """The table with names broken or shortened so that there is room for so many more columns, or fewer if below 0."""
        room = max(_LEAST_NAME, max(columns_of(printable(line[0])) for line in self.lines) + room)
        lines, protocols = [], []
        for i, (name, *cells) in enumerate(self.lines):
            first, *rest = wrapped(printable(name), room).split("\n")
            lines += [[shortened(first, room), *cells]]
            lines += [[shortened(f"  {one}", room), *[""] * len(cells)] for one in rest]
            protocols += [self.protocols[i], *[""] * len(rest)] if self.protocols else []
        return self._replace(lines=lines, protocols=protocols)

    def best(self) -> set[tuple[int, int]]:
        """Line and place in the line of each figure that is the best of its column within a contest; all that tie, as printed.

        Nothing is best in a column of anything but a score, or where fewer than two of the lines have a figure.
        """
        found: set[tuple[int, int]] = set()
        for contest in self.contests:
            for place, title in enumerate(self.headings() or self.groups, start=1):
                figures = {i: value for i in contest if not math.isnan(value := _leading(self.lines[i][place]))}
                if title in _BETTER and len(figures) > 1:
                    best = (min if _BETTER[title] == "lower" else max)(figures.values())
                    found |= {(i, place) for i, value in figures.items() if value == best}
        return found

    @property
    def step(self) -> int:
        """Number of figures in a group."""
        return max(1, len(self.metrics))

    def titles(self) -> list[str]:
        """The groups' headings, with their numbers of images."""
        names = [*map(printable, self.groups)]
        if not self.images:
            return names
        return [f"{name} ({images})" for name, images in zip(names, self.images, strict=True)]

    def headings(self) -> list[str]:
        """The metrics' headings, one for each figure; none where each group has one figure."""
        return [heading(metric) for metric in self.metrics] * len(self.groups)

    def _corners(self) -> list[str]:
        return [self.corner, "protocol"] if self.protocols else [self.corner]

    def _headings(self) -> list[list[str]]:
        return [[""] * len(self._corners()) + self.headings()] if self.metrics else []

    def _full(self) -> list[list[str]]:
        lines = [[printable(name), *figures] for name, *figures in self.lines]
        if not self.protocols:
            return lines
        return [[line[0], protocol, *line[1:]] for line, protocol in zip(lines, self.protocols, strict=True)]

    def _body(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """The lines, their texts escaped and the best figures bold: ``bold`` is a format."""
        best, shift = self.best(), len(self._corners()) - 1
        lines = [[*map(escape, line)] for line in self._full()]
        for i, place in best:
            figure, space, interval = lines[i][place + shift].partition(" ")
            lines[i][place + shift] = bold.format(figure) + space + interval
        return lines


def fitted(tables: Sequence[Table], width: int | None = None) -> list[str]:
    """Tables as text that fits.

    Those with :attr:`~Table.brief` metrics all take one form, the first that fits: whole; their brief metrics, with all metrics
    of the last group before; or their groups below each other. The others are :meth:`~Table.folded`.

    Args:
        tables: in their order.
        width: of a line, in columns; by default that of the terminal.
    """
    width = width or terminal_width()
    large = [table for table in tables if table.brief]
    forms: list[Callable[[Table], Table]] = [lambda table: table, _brief, Table.stacked]
    form = next((form for form in forms if all(form(table).width() <= width for table in large)), Table.stacked)
    shown = [form(table) if table.brief else table for table in tables]
    if form is _brief and large:
        place, first, end = tables.index(large[0]), large[0], len(large[0].groups)
        shown.insert(place, first.part(end - 1, end)._replace(title=first.title, notes=first.notes))
    return [table.folded(width) for table in shown]


def _brief(table: Table) -> Table:
    return table.only(table.brief)._replace(title="", notes=())


def markdown_text(text: str) -> str:
    """Text in Markdown that shows the same characters."""
    return re.sub(r"[\\`*_#<|$&~]|\](?=\()", r"\\\g<0>", printable(text))


def heading(score: str) -> str:
    """A score's heading, by its name without prefix."""
    known = (METRICS | HARM).get(score)
    return known.label if known else score


def figure(score: str, value: float | None) -> str:
    """A score as tables print it: with two decimals, those of :data:`FINE` with four, shares in percent."""
    if value is None or math.isnan(value):
        return "-"
    if score in HARM:
        return f"{100 * value:.1f}%"
    return f"{value:.4f}" if score in FINE else f"{value:.2f}"


def listed(names: Sequence[str]) -> str:
    """The first three names and the number of the others."""
    return ", ".join(map(printable, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _leading(cell: str) -> float:
    """The figure that a cell begins with, before a percent sign or an interval; NaN if there is none."""
    with suppress(ValueError):
        return float(cell.partition(" ")[0].removesuffix("%"))
    return math.nan


def _aligned(line: Sequence[str], widths: Sequence[int], names: int, step: int) -> str:
    cells = [padded(cell, width, str.rjust) for cell, width in zip(line[names:], widths[names:], strict=True)]
    groups = [" ".join(cells[i : i + step]) for i in range(0, len(cells), step)]
    return "  ".join([*map(padded, line[:names], widths), *groups])


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: "\\" + character for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "²": r"$^2$",
        "Δ": r"$\Delta$",
        "<": "$<$",
        ">": "$>$",
        "–": "--",
        "−": "$-$",
        "±": r"$\pm$",
        "`": r"\textasciigrave{}",
        "|": r"\textbar{}",
    }
)


def _latex(text: str) -> str:
    return re.sub(r"(?<![\w.%])-(?=\d)", "−", printable(text)).translate(_LATEX)  # a sign, not a range


def _latex_line(line: Sequence[str]) -> str:
    guard = "{}" if line[0].startswith(("[", "*")) else ""  # the end of the line before would take them for its options
    return guard + " & ".join(line) + r" \\"
