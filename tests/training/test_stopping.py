import os
import signal
import time

import pytest

from frih.training.stopping import STOPPING, stop_requests


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_a_request(number):
    before = signal.getsignal(number)
    with stop_requests() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.is_set()
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_stops_at_once():
    def work():
        with stop_requests():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()


def test_among_processes_the_launchers_repetition_is_no_second_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def work():
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            now[0] = 1.0
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.is_set()
            now[0] = 6.0
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert now == [6.0]
