import math

import pytest

from frih.evaluation.unfinished import FinishedRows, folder_state
from tests.evaluation.helpers import row as any_row

WHAT = {"protocol": "idih", "images": "abc"}


def row(name, mse=1 / 3):
    return any_row(name=name, mse=mse, fmse=math.nan)


def test_rows_come_back_exactly(tmp_path):
    finished = FinishedRows(tmp_path / "out", WHAT)
    assert finished.read() == {}
    with finished.writing(0) as add:
        add(7, [row("x"), row("x", 0.1 + 0.2)])
    with finished.writing(1) as add:
        add(2, [row("ü, \n y")])
    with finished.writing(0) as add:  # after a kill, beside the first one's
        add(3, [row("z")])
    rows = FinishedRows(tmp_path / "out", dict(reversed(WHAT.items()))).read()
    assert sorted(rows) == [2, 3, 7]
    assert repr(rows[7][1]) == repr(row("x", 0.1 + 0.2))  # NaN is not equal to itself
    assert repr(rows[2][0]) == repr(row("ü, \n y"))
    finished.remove()
    assert list((tmp_path / "out").iterdir()) == []
    finished.remove()  # nothing is there


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_half_a_line_is_no_row(tmp_path, cut):
    finished = FinishedRows(tmp_path, WHAT)
    with finished.writing(0) as add:
        add(0, [row("x")])
        add(1, [row("y")])
    (path,) = finished.folder.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert 0 in finished.read()
    assert (1 in finished.read()) == (cut == 1)  # without its end of line it is whole


@pytest.mark.parametrize("line", ["5", "{}", '["x"', "[1, 2]", "[1, [2]]", "\x00"])
def test_a_damaged_line_is_no_row(tmp_path, line):
    finished = FinishedRows(tmp_path, WHAT)
    with finished.writing(0) as add:
        add(0, [row("x")])
    (path,) = finished.folder.iterdir()
    path.write_text(path.read_text() + f"{line}\n")
    assert [*finished.read()] == [0]


def test_rows_of_another_evaluation_are_removed(tmp_path):
    with FinishedRows(tmp_path, WHAT).writing(0) as add:
        add(0, [row("x")])
    other = FinishedRows(tmp_path, {**WHAT, "protocol": "ht"})
    assert other.read() == {}
    assert list(other.folder.iterdir()) == []


def test_the_state_of_a_folder_changes_with_its_files(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.png").write_bytes(b"one")
    before = folder_state(tmp_path)
    assert folder_state(tmp_path) == before
    (tmp_path / "a/x.png").write_bytes(b"three")
    assert folder_state(tmp_path) != before
