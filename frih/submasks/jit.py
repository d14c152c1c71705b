"""How this package uses numba.

Kernels run on one thread, release the GIL and keep no state, so threads and forked or spawned workers may call them. numba
stores the compiled code beside the source or in the user's cache; ``NUMBA_CACHE_DIR`` names another folder. If none can be
written, each process compiles again.

numba's import alone takes time. So modules with kernels, named ``fast_*``, are imported when they are needed
(:mod:`~frih.submasks.patience`).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiles a function of integers when it is first called.

    It allows a * b + c as one instruction, which rounds nothing if all values are integers.
    """
    return _compiled(function, fastmath={"contract"})


def float_kernel(function: F) -> F:
    """Compiles a function when it is first called, whose every operation rounds as NumPy's does."""
    return _compiled(function)


def _compiled(function: F, **options: Any) -> F:
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True, **options))
    except RuntimeError:  # no folder for the cache is writable
        return cast(F, numba.njit(function, nogil=True, **options))
