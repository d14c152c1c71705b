import pytest

from frih.evaluation.published import COUNTS, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from frih.metrics import PROTOCOLS

TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4)
SUMS = [9450.61, 42323.52, 2674.27, 12260.15]
"""Of all figures of each table, added up from the paper's text."""


def figures(table, method):
    return next(line.figures for line in table.lines if line.method == method)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.number))
def test_every_line_is_complete(table):
    for line in table.lines:
        assert len(line.figures) == len(table.groups) * len(table.metrics), line.method
        assert line.protocol == "" or line.protocol in PROTOCOLS
    assert len({line.method for line in table.lines}) == len(table.lines)


def test_tables_agree_where_they_print_the_same_figure():
    for line in TABLE_2.lines:
        everywhere = figures(TABLE_1, line.method)[-2]
        if everywhere is not None:
            assert line.figures[-2] == everywhere, line.method
    assert figures(TABLE_3, "Baseline+Cascade Submask+Fusion") == figures(TABLE_1, "FRIH")
    assert figures(TABLE_4, "Baseline+Cascade Submask+Fusion") == figures(TABLE_2, "FRIH")
    for line in TABLE_4.lines:
        assert line.figures[-2] == figures(TABLE_3, line.method)[-2]
    assert TABLE_5[0.1] == figures(TABLE_1, "FRIH")[-2:]
    for method, (psnr, _) in TABLE_6.items():
        assert psnr == figures(TABLE_1, method)[-1]


def test_checksums_of_the_printed_figures():
    sums = [round(sum(x for line in table.lines for x in line.figures if x is not None), 2) for table in TABLES]
    assert sums == SUMS


def test_all_is_the_mean_over_images_of_most_lines_and_contradicts_itself_in_some():
    assert sum(COUNTS.values()) == 7404
    found = {
        (line.method, metric): round(mean, 2)
        for table in TABLES
        for line in table.lines
        for metric, mean in table.recomputed(line).items()
    }
    mse = {method: mean for (method, metric), mean in found.items() if metric == "mse"}
    assert mse == {
        "IIH": 39.72,
        "FRIH": 24.07,
        "Baseline": 34.18,
        "Baseline+Cascade Globalmask": 32.60,
        "Baseline+Cascade Submask": 26.48,
        "Baseline+Cascade Submask+Fusion": 24.07,
    }
    psnr = {method: mean for (method, metric), mean in found.items() if metric == "psnr"}
    assert psnr == {
        "ADFM": 35.88,
        "IIH": 35.92,
        "RainNet": 36.18,
        "Baseline": 36.84,
        "Baseline+Cascade Globalmask": 37.00,
    }
