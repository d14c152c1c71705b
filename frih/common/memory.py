"""How programs that compute on a CPU hold their memory."""

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Options of ``mallopt``, as malloc.h numbers them."""


def keep_memory() -> None:
    """Lets this process keep the memory that it frees, for what it needs next.

    By default glibc gives blocks of megabytes back to the system at once, and takes each page of the next one anew: a fifth of
    the time of a training step. Other C libraries are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
