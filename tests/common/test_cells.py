import csv

import pytest

from frih.common.cells import guarded, unguarded, write_csv


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-a.jpg", "'-a.jpg"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("'=x", "''=x"),
        ("'x", "'x"),
        ("a=b", "a=b"),
        ("-0.53", "-0.53"),
        ("-", "-"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula_and_each_comes_back(cell, written):
    assert guarded(cell) == written
    assert unguarded(written) == cell


def test_every_character_comes_back(tmp_path):
    lines = [["a,b", "c\nd", "e\rf", 'g"h'], ["=x", -1.5, 3, "é"]]
    write_csv(tmp_path / "a.csv", lines)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [*csv.reader(file, strict=True)] == [lines[0], ["'=x", "-1.5", "3", "é"]]
