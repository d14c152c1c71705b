"""How this package uses numba.

Kernels run on one thread, release the GIL and keep no state, so threads and forked or spawned workers may call them. numba
stores the compiled code beside the source or in the user's cache; ``NUMBA_CACHE_DIR`` names another folder. If none can be
written, each process compiles again.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compiles a function when it is first called."""
    # "contract" allows a * b + c as one instruction, which rounds nothing if all values are integers; nothing else is allowed.
    options = {"nogil": True, "fastmath": {"contract"}}
    try:
        return cast(F, numba.njit(function, cache=True, **options))
    except RuntimeError:  # no folder for the cache is writable
        return cast(F, numba.njit(function, **options))
