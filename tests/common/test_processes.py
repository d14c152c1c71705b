import os
import signal

import pytest

from frih.common.errors import UserError
from frih.common.processes import cores, process_pool


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers):
    with process_pool(workers, chunk=3) as each:
        assert list(each(abs, [-3, 2, -1, 0, 5, -8, 7])) == [3, 2, 1, 0, 5, 8, 7]


def test_a_killed_process_is_told(tmp_path):
    with pytest.raises(UserError, match="a process was killed"), process_pool(2) as each:
        list(each(_kill_own, [9]))


def test_cores():
    assert 1 <= cores() <= (os.cpu_count() or 1)


def _kill_own(number):
    os.kill(os.getpid(), signal.Signals(number))
