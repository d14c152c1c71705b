"""A table and the forms it is written in: text for a console, CSV, Markdown, LaTeX."""

import math
import shutil
import sys
from collections.abc import Sequence
from typing import NamedTuple

from frih import metrics

METRICS = {name: metrics.METRICS[name].label for name in metrics.PAPER}
"""The scores of the main tables, and their headings; the arrow points to the better."""
MAIN = (*METRICS, *metrics.HARM)
"""The scores of the main tables, with the shares of images made worse."""
FINE = ("ssim", "fssim", "lpips")
"""Scores below 1, of which two decimals say too little."""


class Table(NamedTuple):
    """Groups of figures side by side, each by all metrics; a line a method."""

    corner: str
    groups: list[str]
    images: list[int]
    """Images in each group; empty where that is not what the groups are."""
    lines: list[list[str]]
    """The method's name, then its figures, group by group."""
    metrics: tuple[str, ...] = tuple(METRICS)
    """Names of scores; none where each group has one figure."""
    title: str = ""
    published: int = 0
    """So many lines, the first, are copied from a paper."""
    protocols: list[str] = []  # noqa: RUF012 - never changed
    """By which each line was measured, a second column; empty: by one, which the text around the table names."""
    notes: tuple[str, ...] = ()

    def flat(self) -> list[list[str]]:
        """Cells for a CSV file, under one line of headings, which name the percent."""
        names = [f" {metric}{' %' * (metric in metrics.HARM)}" for metric in self.metrics] or [""]
        headings = [*self._corners(), *(group + name for group in self.groups for name in names)]
        return [headings, *([cell.removesuffix("%") for cell in line] for line in self._full())]

    def markdown(self) -> str:
        """Markdown, under two lines of headings as in the paper."""
        blanks = [""] * (self.step - 1)
        spread = [cell for title in self.titles() for cell in (title, *blanks)]
        rule = ["---"] * len(self._corners()) + ["---:"] * len(spread)
        lines = [[*self._corners(), *spread], rule, *self._headings(), *self._full()]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return "\n\n".join([*([f"**{self.title}**"] if self.title else []), table, *self.notes])

    def latex(self) -> str:
        r"""A ``table`` for LaTeX, to be used with ``\usepackage{booktabs}``."""
        ends = len(self._corners())
        spans = [(ends + 1 + i * self.step, ends + (i + 1) * self.step) for i in range(len(self.groups))]
        titles = [_latex(title) for title in self.titles()]
        if self.metrics:
            titles = [rf"\multicolumn{{{self.step}}}{{c}}{{{title}}}" for title in titles]
        caption = " ".join([*([_sentence(self.title)] if self.title else []), *self.notes])
        body = [_latex_line(line) for line in self._full()]
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
                *([" ".join(rf"\cmidrule(lr){{{first}-{last}}}" for first, last in spans)] if self.metrics else []),
                *map(_latex_line, self._headings()),
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )

    def text(self) -> str:
        """Aligned columns for a console: a space between columns, two between groups."""
        lines, corners = [*self._headings(), *self._full()], self._corners()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for column, name in enumerate(corners):
            widths[column] = max(widths[column], len(name))
        spans = []
        for first, title in zip(range(len(corners), len(widths), self.step), self.titles(), strict=True):
            room = sum(widths[first : first + self.step]) + self.step - 1
            widths[first] += max(0, len(title) - room)
            spans.append(max(len(title), room))
        body = [_aligned(line, widths, len(corners), self.step) for line in lines]
        title_line = "  ".join([*map(str.ljust, corners, widths), *map(str.center, self.titles(), spans)])
        above, below = body[: len(self._headings())], body[len(self._headings()) :]
        ruled = [title_line, *above, "-" * len(body[0]), *below]
        caption = [self.title] if self.title else []
        return "\n".join(line.rstrip() for line in [*caption, *ruled, *self.notes])

    def folded(self, width: int | None = None) -> str:
        """Text as :meth:`text` has it, the groups that do not fit beside the first ones below them.

        Args:
            width: of a line, in characters; that of the terminal by default, and any where there is none.
        """
        if width is None and not sys.stdout.isatty():
            return self.text()
        width = width or shutil.get_terminal_size().columns
        parts, start = [], 0
        while start < len(self.groups):
            stop = len(self.groups)
            while stop > start + 1 and self._part(start, stop)._width() > width:
                stop -= 1
            parts.append(self._part(start, stop).text())
            start = stop
        return "\n".join([*([self.title] if self.title else []), "\n\n".join(parts), *self.notes])

    def _part(self, start: int, stop: int) -> "Table":
        """Some of the groups, without title and notes."""
        cells = slice(1 + start * self.step, 1 + stop * self.step)
        lines = [[line[0], *line[cells]] for line in self.lines]
        return self._replace(
            groups=self.groups[start:stop], images=self.images[start:stop], lines=lines, title="", notes=()
        )

    def _width(self) -> int:
        return max(map(len, self.text().splitlines()))

    @property
    def step(self) -> int:
        """Figures of a group."""
        return max(1, len(self.metrics))

    def titles(self) -> list[str]:
        """The groups' headings, with their numbers of images."""
        if not self.images:
            return self.groups
        return [f"{group} ({images})" for group, images in zip(self.groups, self.images, strict=True)]

    def headings(self) -> list[str]:
        """The metrics' headings, one a figure; none where each group has one figure."""
        return [heading(metric) for metric in self.metrics] * len(self.groups)

    def _corners(self) -> list[str]:
        return [self.corner, "protocol"] if self.protocols else [self.corner]

    def _headings(self) -> list[list[str]]:
        return [[""] * len(self._corners()) + self.headings()] if self.metrics else []

    def _full(self) -> list[list[str]]:
        if not self.protocols:
            return self.lines
        return [[line[0], protocol, *line[1:]] for line, protocol in zip(self.lines, self.protocols, strict=True)]


def heading(score: str) -> str:
    """A score's heading, by its name without prefix."""
    known = {**metrics.METRICS, **metrics.HARM}.get(score)
    return known.label if known else score


def figure(score: str, value: float | None) -> str:
    """A score as tables print it: with two decimals, similarities and the like with four, shares in percent."""
    if value is None or math.isnan(value):
        return "-"
    if score in metrics.HARM:
        return f"{100 * value:.1f}%"
    return f"{value:.4f}" if score in FINE else f"{value:.2f}"


def _aligned(line: Sequence[str], widths: Sequence[int], names: int, step: int) -> str:
    cells = [cell.rjust(width) for cell, width in zip(line[names:], widths[names:], strict=True)]
    groups = [" ".join(cells[i : i + step]) for i in range(0, len(cells), step)]
    return "  ".join([*map(str.ljust, line[:names], widths), *groups])


_LATEX = {
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
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_line(line: Sequence[str]) -> str:
    return " & ".join(map(_latex, line)) + r" \\"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
