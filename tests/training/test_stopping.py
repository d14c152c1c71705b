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


@pytest.mark.parametrize(("processes", "times"), [("1", [0.0, 0.0]), ("2", [0.0, 1.0, 6.0])])
def test_a_second_ctrl_c_stops_at_once(monkeypatch, processes, times):
    """Among several processes only after seconds: the launcher repeats what its processes got as well."""
    if processes != "1":
        monkeypatch.setenv("WORLD_SIZE", processes)
    clock = iter(times)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with stop_requests() as stop:
        for _ in times[:-1]:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
