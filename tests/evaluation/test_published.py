import pytest

from frih.evaluation.published import COUNTS, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from frih.metrics import PROTOCOLS

TABLES = (TABLE_1, TABLE_2, TABLE_3, TABLE_4)
SUMS = [9450.61, 42323.52, 2674.27, 12260.15]
"""Sum of all figures of each table, added up from the paper's text."""


def figures(table, method):
    return next(line.figures for line in table.lines if line.method == method)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.number))
def test_every_line_is_complete(table):
    for line in table.lines:
        assert len(line.figures) == len(table.groups) * len(table.metrics), line.method
        assert line.protocol == "" or line.protocol in PROTOCOLS
    assert len({line.method for line in table.lines}) == len(table.lines)


def test_tables_agree_where_they_print_the_same_figure():
    for table, other in ((TABLE_2, TABLE_1), (TABLE_4, TABLE_3)):
        for line in table.lines:
            assert figures(other, line.method)[-2] in (line.figures[-2], None), line.method
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
    assert found == {
        ("ADFM", "psnr"): 35.88,
        ("IIH", "mse"): 39.72,
        ("IIH", "psnr"): 35.92,
        ("RainNet", "psnr"): 36.18,
        ("FRIH", "mse"): 24.07,
        ("Baseline", "mse"): 34.18,
        ("Baseline", "psnr"): 36.84,
        ("Baseline+Cascade Globalmask", "mse"): 32.60,
        ("Baseline+Cascade Globalmask", "psnr"): 37.00,
        ("Baseline+Cascade Submask", "mse"): 26.48,
        ("Baseline+Cascade Submask+Fusion", "mse"): 24.07,
    }
