"""How this package uses numba.

Kernels run on one thread, release the GIL and keep no state, so threads and forked or spawned workers may call them. numba
keeps the compiled code beside the source, or else in the user's cache (``NUMBA_CACHE_DIR`` chooses another); where neither can
be written, each process compiles its own.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

if numba.config.DISABLE_JIT:
    raise ImportError("numba is switched off (NUMBA_DISABLE_JIT)")


def kernel(function: F) -> F:
    """Compiles a function when it is first called."""
    # Contracting a * b + c into one instruction is the only liberty given, and rounds nothing where all values are integers.
    options = {"nogil": True, "fastmath": {"contract"}}
    try:
        return cast(F, numba.njit(function, cache=True, **options))
    except RuntimeError:  # no folder for the cache can be written
        return cast(F, numba.njit(function, **options))
