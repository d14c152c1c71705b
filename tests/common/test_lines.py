import pytest
from pydantic import TypeAdapter

from frih.common.errors import UserError
from frih.common.lines import read_json_lines

NUMBERS = TypeAdapter(list[int])


@pytest.mark.parametrize("rest", [b"", b"[4", b"\0" * 4096, b"\xff\xfe"])
def test_an_unfinished_last_line_is_left_out(tmp_path, rest):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"[1]\n\n[2, 3]\n" + rest)
    assert read_json_lines(path, NUMBERS) == [[1], [2, 3]]


@pytest.mark.parametrize("damage", [b"[4", b"\0" * 4096, b"\xff\xfe", b"{}", b"[" * 10**5, b"9" * 10**6, b'["x"]'])
def test_any_other_damaged_line_is_named_by_its_number(tmp_path, damage):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"[1]\n\n" + damage + b"\n[2, 3]\n")
    with pytest.raises(UserError, match=f"^{path}: line 3 is damaged; remove that line"):
        read_json_lines(path, NUMBERS)


def test_without_a_file_there_are_no_lines(tmp_path):
    assert read_json_lines(tmp_path / "log.jsonl", NUMBERS) == []
    assert read_json_lines(tmp_path, NUMBERS) == []
