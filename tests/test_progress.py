import io
import sys

from frih.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def states(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    clock = iter(range(1000))
    with progress_bar(total=40, unit="step", miniters=1) as bar:
        bar.start_t = bar.last_print_t = 0
        bar._time = lambda: next(clock)  # a second passes at each look
        for _ in range(40):
            bar.update()
    return stream.getvalue().count("\r")


def test_a_log_file_gets_few_states(monkeypatch):
    assert states(monkeypatch, io.StringIO()) < 10


def test_a_terminal_gets_every_state(monkeypatch):
    assert states(monkeypatch, Terminal()) > 40
