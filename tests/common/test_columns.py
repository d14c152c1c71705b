import pytest

from frih.common.columns import PIPED, columns_of, padded, shortened, terminal_width, wrapped


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("a b", 3), ("PSNR↑ Δ…", 8), ("日本", 4), ("é", 1), ("e\u0301", 1), ("🙂", 2)]
)
def test_columns_of_a_terminal(text, columns):
    assert columns_of(text) == columns
    assert columns_of(padded(text, 9)) == 9
    assert columns_of(padded(text, 9, str.center)) == 9


def test_padded_text_keeps_its_side():
    assert [padded("日本", 6, to) for to in (str.ljust, str.rjust, str.center)] == ["日本  ", "  日本", " 日本 "]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("abcdefgh", 8, "abcdefgh"),
        ("abcdefgh", 7, "abc…fgh"),
        ("abcdefgh", 6, "ab…fgh"),
        ("日本日本", 7, "日…日本"),  # a wide character never stands half
        ("abc", 1, "…"),
    ],
)
def test_shortened_text_keeps_both_ends(text, width, expected):
    assert shortened(text, width) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three", "one two\nthree"),
        ("one\ntwo three", "one\ntwo\nthree"),
        ("a/longer/word is", "a/longer/word\nis"),
        ("日本 日本", "日本\n日本"),
        ("\none  two", "\none  two"),
        ("", ""),
    ],
)
def test_lines_are_broken_between_words(text, expected):
    assert wrapped(text, 8) == expected


def test_a_line_has_the_width_that_is_asked_for_and_a_fixed_one_in_a_pipe(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.__stdout__", None)
    assert terminal_width() == PIPED
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal_width() == 60
    assert wrapped("a " * 40) == "a " * 29 + "a\n" + "a " * 10
