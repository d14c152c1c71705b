import io
import sys
import threading
import time

import pytest

from frih.common.progress import progress_bar, told_if_slow


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "pace"), [(io.StringIO(), (30, 30)), (Terminal(), (0.1, 10))])
def test_a_log_file_gets_few_states_and_a_terminal_many(monkeypatch, stream, pace):
    """``maxinterval`` too: after that time tqdm's own watch renews a bar."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(range(1000), unit="step") as bar:
        assert (bar.mininterval, bar.maxinterval) == pace
        assert list(bar) == list(range(1000))
    assert "1000/1000" in stream.getvalue()
    assert stream.getvalue().count("\r") <= 3


def test_there_is_no_bar_where_stderr_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(range(3)) as bar:
        assert list(bar) == [0, 1, 2]


@pytest.mark.parametrize(("answers", "lines"), [([True], 1), ([False, False, True], 1), ([False] * 1000, 0)])
def test_a_wait_is_explained_once_if_the_reason_applies(monkeypatch, answers, lines):
    stream, asked, enough = io.StringIO(), [], threading.Event()
    monkeypatch.setattr(sys, "stderr", stream)

    def applies():
        asked.append(True)
        if len(asked) >= min(3, len(answers)):
            enough.set()
        return answers[len(asked) - 1]

    with told_if_slow("loading ...", seconds=0.001, applies=applies):
        assert enough.wait(30)
        while lines and "\n" not in stream.getvalue():
            time.sleep(0.001)
    assert stream.getvalue() == "loading ...\n" * lines


def test_a_short_wait_is_not_explained(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with told_if_slow("loading ...", seconds=30):
        pass
    assert sys.stderr.getvalue() == ""
