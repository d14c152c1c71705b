"""Streams that lack characters, are closed, or whose reader has ended: no traceback, and the work is done."""

import io
import subprocess
import sys

import pytest

from frih.common import console

PROGRAM = """
import sys
from frih.common.errors import run_command
from frih.common.progress import progress_bar
def main():
    for number in progress_bar(range(3), desc="é"):
        print(f"MSE↓ {number} é 日 \\udcff →")
    open("done", "w").close()
    return 0
run_command(main)
"""


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", "MSE↓ Δ é 日 \\udcff →"),
        ("latin-1", "MSEv d é \\u65e5 \\udcff >"),
        ("cp1252", "MSEv d é \\u65e5 \\udcff >"),
        ("ascii", "MSEv d \\xe9 \\u65e5 \\udcff >"),
    ],
)
def test_characters_that_an_encoding_lacks(monkeypatch, tmp_path, encoding, line):
    with (tmp_path / "out").open("w", encoding=encoding) as stream:
        for name in ("stdout", "__stdout__"):
            monkeypatch.setattr(sys, name, stream)
        for name in ("stderr", "__stderr__"):
            monkeypatch.setattr(sys, name, None)
        console.prepare_streams()
        print("MSE↓ Δ é 日 \udcff →")
        print("nowhere \udcff", file=sys.stderr)
        sys.stderr.close()
        sys.stdout.flush()
    assert (tmp_path / "out").read_text(encoding=encoding) == line + "\n"


def test_streams_of_a_program_around_this_one_stay(monkeypatch):
    theirs = io.StringIO()
    monkeypatch.setattr(sys, "stdout", theirs)
    console.prepare_streams()
    assert sys.stdout is theirs


@pytest.mark.parametrize(
    ("redirections", "status", "words"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("| true", 0, ""),
        (">/dev/full", 2, "error: stdout: No space left on device; make room there, then go on"),
    ],
)
def test_streams_that_take_nothing(tmp_path, redirections, status, words):
    command = ["bash", "-o", "pipefail", "-c", '"$0" -c "$1" ' + redirections, sys.executable, PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert words in done.stderr
    assert (tmp_path / "done").exists() or status
