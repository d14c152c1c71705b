"""The figures that the paper prints (Peng et al., AAAI 2024), to be shown beside measured ones.

They are facts to compare with, not results of this project. The paper took most of them from other papers, whose evaluators
differ, so each line names the evaluator that made it, where that is known.
"""

from typing import NamedTuple

from frih.data.iharmony4 import COMPOSITES

COUNTS = {subset: splits["test"] for subset, splits in COMPOSITES.items()}
"""Test images of iHarmony4, from which the paper's "All" should follow."""
SUBSETS = (*COUNTS, "All")
RATIOS = ("0-5", "5-15", "15-100", "All")
TOLERANCE = 0.015
"""Rounding to 0.01 explains a difference of 0.01 at most."""


class Line(NamedTuple):
    """One printed line."""

    method: str
    source: str
    """The paper that proposed the method; empty for the paper's own."""
    protocol: str
    """Protocol of the method's own evaluator, which made its figures; empty if it is not known."""
    figures: tuple[float | None, ...]
    """Group by group, each by all metrics of the table; None where a dash is printed."""


class Printed(NamedTuple):
    """One printed table."""

    number: int
    caption: str
    corner: str
    groups: tuple[str, ...]
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]

    def recomputed(self, line: Line) -> dict[str, float]:
        """The mean over images that "All" should be, by metric, where it differs by more than rounding explains."""
        if self.groups != SUBSETS:
            return {}
        found, step = {}, len(self.metrics)
        for offset, metric in enumerate(self.metrics):
            *parts, printed = line.figures[offset::step]
            known = [(count, part) for count, part in zip(COUNTS.values(), parts, strict=True) if part is not None]
            if printed is not None and len(known) == len(COUNTS):
                mean = sum(count * part for count, part in known) / sum(COUNTS.values())
                if abs(mean - printed) > TOLERANCE:
                    found[metric] = mean
        return found


_SOURCES = {
    "Lalonde": ("Lalonde and Efros 2007", ""),
    "Xue": ("Xue et al. 2012", ""),
    "Zhu": ("Zhu et al. 2015", ""),
    "DIH": ("Tsai et al. 2017", ""),
    "S²AM": ("Cun and Pun 2020", ""),
    "DoveNet": ("Cong et al. 2020", "dovenet"),
    "ADFM": ("Hao et al. 2020", ""),
    "BargainNet": ("Cong et al. 2021", "dovenet"),
    "IIH": ("Guo et al. 2021b", "ht"),
    "RainNet": ("Ling et al. 2021", "rainnet"),
    "iDIH": ("Sofiiuk et al. 2021", "idih"),
    "D-HT": ("Guo et al. 2021a", "ht"),
    "S²CRNet": ("Liang et al. 2022", ""),
    "Harmonizer": ("Ke et al. 2022", ""),
}
"""The paper that proposed a method, and the protocol of its evaluator."""


def _lines(text: str) -> tuple[Line, ...]:
    """Lines of ``method | figures``, with a dash for a missing figure."""
    lines = []
    for line in text.strip().splitlines():
        method, figures = (part.strip() for part in line.split("|"))
        values = (None if figure == "-" else float(figure) for figure in figures.split())
        lines.append(Line(method, *_SOURCES.get(method, ("", "")), tuple(values)))
    return tuple(lines)


TABLE_1 = Printed(
    1,
    "Comparison in each sub-dataset of iHarmony4's test set",
    "Sub-dataset",
    SUBSETS,
    ("mse", "psnr"),
    _lines("""
    Input composite |  69.37 33.94 345.54 28.16 264.35 28.32 109.65 34.01 172.47 31.63
    Lalonde         | 110.10 31.14 158.90 29.66 329.87 26.43 199.93 29.80 150.53 30.16
    Xue             |  77.04 33.32 274.15 28.79 249.54 28.32 190.51 31.24 155.87 31.40
    Zhu             |  79.82 33.04 414.31 27.26 315.42 27.52 136.71 32.32 204.77 30.72
    DIH             |  51.85 34.69  92.65 32.28 163.38 29.55  82.34 34.62  76.77 33.41
    S²AM            |  41.07 35.47  63.40 33.77 143.45 30.03  76.61 34.50  59.67 34.35
    DoveNet         |  36.72 35.83  52.32 34.34 133.14 30.21  54.05 35.18  52.36 34.75
    ADFM            |      - 36.87      - 34.99      - 33.36      - 34.31      - 35.86
    BargainNet      |  24.84 37.03  39.94 35.34  97.32 31.34  50.98 35.67  37.82 35.88
    IIH             |  24.92 37.16  43.02 35.20 105.13 31.34  55.53 35.96  38.71 35.90
    RainNet         |      - 37.08      - 36.22      - 31.64      - 34.83      - 36.12
    iDIH            |  19.29 38.44  30.87 36.09  84.10 32.61  55.24 37.26  30.56 37.08
    D-HT            |  16.89 38.76  38.53 36.88  74.51 33.13  53.01 37.10  30.30 37.55
    S²CRNet         |  23.22 38.48  34.91 36.42  98.73 32.48  51.67 36.81  35.58 37.18
    Harmonizer      |  17.34 38.77  21.89 37.64  64.81 33.63  33.14 37.56  24.26 37.84
    FRIH            |  15.05 39.35  23.61 37.69  68.93 33.48  42.78 37.89  23.98 38.19
    """),
)

TABLE_2 = Printed(
    2,
    "Comparison in each foreground ratio range of iHarmony4's test set",
    "Foreground ratio",
    RATIOS,
    ("mse", "fmse"),
    _lines("""
    Input composite | 28.51 1208.86 119.19 1323.23 577.58 1887.05 172.47 1387.30
    Lalonde         | 41.52 1481.59 120.62 1309.79 444.65 1467.98 150.53 1433.21
    Xue             | 31.24 1325.96 132.12 1459.28 479.53 1555.69 155.87 1411.40
    Zhu             | 33.30 1297.65 145.14 1577.70 682.69 2251.76 204.77 1580.17
    DIH             | 18.92  799.17  64.23  752.86 228.86  768.89  76.77  773.18
    S²AM            | 15.09  623.11  48.33  540.54 177.62  592.83  59.67  594.67
    DoveNet         | 14.03  591.88  44.90  504.42 152.07  505.82  52.36  549.96
    BargainNet      | 10.55  450.33  32.13  359.49 109.23  353.84  37.82  405.23
    RainNet         | 11.66  550.38  32.05  378.69 117.41  389.80  40.29  469.60
    iDIH            |  8.38  366.32  25.39  287.02  89.44  297.94  30.56  330.45
    FRIH            |  6.89  305.28  19.88  226.45  70.05  205.83  23.98  252.63
    """),
)


def _ablation(number: int, caption: str, whole: Printed, text: str) -> Printed:
    """A table of the ablation study; its first and last lines are those of another table."""
    last = whole.lines[-1]._replace(method="Baseline+Cascade Submask+Fusion")
    return whole._replace(number=number, caption=caption, lines=(whole.lines[0], *_lines(text), last))


TABLE_3 = _ablation(
    3,
    "Ablation study in each sub-dataset of iHarmony4's test set",
    TABLE_1,
    """
    Baseline                    | 21.38 38.24  37.15 35.79  90.12 32.25  50.12 37.45  35.38 36.82
    Baseline+Cascade Globalmask | 20.05 38.39  35.52 35.98  87.29 32.40  48.91 37.53  33.82 36.98
    Baseline+Cascade Submask    | 16.52 39.09  26.21 37.42  75.82 33.05  44.21 37.78  26.31 37.90
    """,
)

TABLE_4 = _ablation(
    4,
    "Ablation study in each foreground ratio range of iHarmony4's test set",
    TABLE_2,
    """
    Baseline                    | 10.21  421.53  29.68  336.32 109.21  345.19  35.38  380.12
    Baseline+Cascade Globalmask |  9.89  401.18  27.85  319.47  99.35  320.71  33.82  366.23
    Baseline+Cascade Submask    |  7.28  322.86  21.42  244.15  77.82  230.47  26.31  268.52
    """,
)

TABLE_5 = {
    0.01: (25.26, 38.09),
    0.05: (24.49, 38.17),
    0.1: (23.98, 38.19),
    0.2: (24.76, 38.15),
    0.3: (25.41, 38.08),
    0.4: (25.90, 38.02),
}
"""MSE and PSNR on all of iHarmony4's test set, by d_c."""

TABLE_6 = {"DoveNet": (34.75, 54.76), "IIH": (35.90, 40.83), "RainNet": (36.12, 54.75), "FRIH": (38.19, 11.98)}
"""PSNR on all of iHarmony4's test set, and millions of parameters."""
