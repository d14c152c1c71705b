"""Which code works on the colours: compiled by numba where that is installed and switched on, else NumPy. The same bits."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from frih.submasks import plain as fastest
else:
    try:
        from frih.submasks import compiled as fastest
    except ImportError:  # numba is missing, or switched off by NUMBA_DISABLE_JIT=1
        from frih.submasks import plain as fastest

__all__ = ["fastest"]
