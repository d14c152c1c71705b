import io
import sys

from frih.common.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def begun(monkeypatch, stream):
    """A bar whose clock goes a second further at each look."""
    monkeypatch.setattr(sys, "stderr", stream)
    bar = progress_bar(total=100, unit="step")
    clock = iter(range(1, 1000))
    bar.start_t = bar.last_print_t = 0
    bar._time = lambda: next(clock)
    return bar


def states(monkeypatch, stream):
    with begun(monkeypatch, stream) as bar:
        for _ in range(100):
            bar.update()
    return stream.getvalue().count("\r")


def test_a_log_file_gets_few_states(monkeypatch):
    assert states(monkeypatch, io.StringIO()) <= 2 + 100 // 30


def test_a_terminal_gets_every_state(monkeypatch):
    assert states(monkeypatch, Terminal()) > 90


def test_tqdms_own_watch_adds_none_to_a_log_file(monkeypatch):
    """It renews a bar that was not for ``maxinterval``, 10 seconds unless it is told."""
    with begun(monkeypatch, io.StringIO()) as bar:
        assert bar.maxinterval == bar.mininterval == 30
    with begun(monkeypatch, Terminal()) as bar:
        assert (bar.mininterval, bar.maxinterval) == (0.1, 10)
