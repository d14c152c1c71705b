"""How programs that compute on a CPU hold their memory."""

import ctypes
import sys
from collections.abc import Mapping

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Options of ``mallopt``, as malloc.h numbers them."""


def keep_memory() -> None:
    """Lets this process keep the memory that it frees, for what it needs next.

    By default glibc gives blocks of megabytes back to the system at once, and takes each page of the next one anew: a fifth of
    the time of a training step. Other C libraries are left alone.
    """
    _set_options({_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1})


def return_memory() -> None:
    """Lets this process give every larger block back at once, so that its peak is of what it uses."""
    _set_options({_MMAP_THRESHOLD: 1 << 16})


def _set_options(options: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)
