import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frih.common.errors import UserError
from frih.evaluation.rows import read_rows, write_rows
from frih.metrics import Row
from tests.evaluation.helpers import row

HEAD = "subset,name,real,fg_ratio,submasks,mse\n"
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
scores = st.floats(allow_nan=False) | st.just(-0.0)
lists = st.lists(
    st.builds(
        Row,
        names,
        names,
        names,
        st.floats(0, 1),
        st.integers(0, 255),
        st.fixed_dictionaries({"mse": scores, "ssim": scores}),
    ),
    unique_by=lambda one: (one.subset, one.name),
    max_size=4,
)


@given(lists)
def test_rows_come_back_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(path, rows)
    assert read_rows(path) == rows


def test_a_score_that_is_not_a_number_is_an_empty_cell(tmp_path):
    write_rows(tmp_path / "rows.csv", [row(fmse=math.nan)])
    assert (tmp_path / "rows.csv").read_text().splitlines()[1] == "A,x.jpg,x.jpg,0.1,3,1.0,30.0,"
    assert math.isnan(read_rows(tmp_path / "rows.csv")[0].scores["fmse"])


def test_rows_of_different_scores_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="different scores"):
        write_rows(tmp_path / "rows.csv", [row(), row(name="y.jpg", ssim=1.0)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"line 1 must begin with the columns subset,name,real"),
        ("subset,name\n", "line 1 must begin with"),
        ("subset,name,real,fg_ratio,submasks,mse,mse\n", "line 1 names a column twice"),
        (HEAD + "A,x,x,0.1,3\n", "line 2 has 5 cells, not 6"),
        (HEAD + "A,x,x,0.1,3,1.0\nA,y,x,0.1,3,1.", "line 3 is cut off"),
        (HEAD + "A,x,x,0.1,3,1.0\nA,x,x,0.1,3,2.0\n", "line 3 has A/x a second time"),
        (HEAD + "A,x,x,0.1,3,1.0.0\n", "line 2 has '1.0.0' for mse"),
        (HEAD + "A,x,x,1.1,3,1.0\n", "line 2 has fg_ratio 1.1"),
        (HEAD + "A,x,x,nan,3,1.0\n", "line 2 has fg_ratio nan"),
        (HEAD + "A,x,x,0.1,2.5,1.0\n", "submasks 2.5"),
        (HEAD + "A,x,x,,3,1.0\n", "line 2 has '' for fg_ratio"),
        (HEAD + 'A,"x,x,0.1,3,1.0\n', "line 2 unexpected end of data"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_line(tmp_path, text, complaint):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint) as caught:
        read_rows(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_rows(tmp_path / "rows.csv")
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-8"):
        read_rows(tmp_path / "rows.csv")
