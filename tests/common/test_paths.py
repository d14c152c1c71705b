import argparse
from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.common.paths import at_home, path_argument


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~", "/home/me"),
        ("~/a b/c", "/home/me/a b/c"),
        ("a/~/b", "a/~/b"),
        ("./~", "./~"),
        ("hf://~/x", "hf://~/x"),
        ("", ""),
    ],
)
def test_the_home_folder(path, expected):
    assert at_home(path) == expected


def test_users_that_are_not_there():
    with pytest.raises(UserError, match=r"^~nobody-here has no home folder here; write \./~nobody-here/x for a file"):
        at_home("~nobody-here/x")
    Path("~nobody-here").mkdir()
    Path("~nobody-here/x").touch()
    assert at_home("~nobody-here/x") == "~nobody-here/x"
    for odd in ("~" + "x" * 5000, "~\ud800"):
        with pytest.raises(UserError, match="has no home folder here"):
            at_home(odd)
    with pytest.raises(UserError, match=r"'a\\x00b' is no path"):
        at_home("a\0b")


def test_as_an_argument():
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--out", type=path_argument)
    assert parser.parse_args(["--out=~/x"]).out == Path("/home/me/x")
    with pytest.raises(argparse.ArgumentError, match="~nobody-here has no home folder here"):
        parser.parse_args(["--out=~nobody-here/x"])
