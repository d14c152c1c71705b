"""When compiled code pays.

Compiling takes seconds, even loading what was compiled before half a second. For a few images plain NumPy is done by then. So
work that exists in both forms, with results equal to the bit, begins plain and goes on compiled.
"""

from threading import Lock


class Patience:
    """How much work a process does plainly before it compiles.

    Args:
        work: in the caller's units. It should take about as long as compiling: then no one waits more than twice as long as
            with the better of the two forms.
    """

    over = False
    """Whether much work is known to come in this process, so that all of it is to be done compiled."""

    def __init__(self, work: int) -> None:
        self.left = work
        self._lock = Lock()

    def lasts(self, work: int) -> bool:
        """Whether this task is to be done plainly. From the first that is not, none is."""
        with self._lock:
            self.left = self.left - work if self.left > work else 0
            return self.left > 0 and not Patience.over
