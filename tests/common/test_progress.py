import io
import sys

import pytest

from frih.common.progress import progress_bar


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
