"""Checks of arguments that several functions of this package take."""

from numbers import Integral
from typing import Any

import numpy as np

from frih.common.errors import did_you_mean


def check_colors(colors: Any) -> None:
    """Raises ValueError unless this is an (N, 3) array of uint8, N < 2^31."""
    if not (isinstance(colors, np.ndarray) and colors.dtype == np.uint8 and colors.ndim == 2 and colors.shape[1] == 3):
        raise ValueError(
            f"colors: must be an (N, 3) array of uint8 (scale to 0..255 and convert), not {describe(colors)}"
        )
    if len(colors) >= 1 << 31:
        raise ValueError(f"colors: must be fewer than 2^31, not {len(colors)}; cluster a smaller image")


def check_count(name: str, value: Any, usual: str) -> None:
    """Raises ValueError unless this is a number of labels."""
    if not is_number(value, Integral) or not 1 <= value <= 255:
        raise ValueError(f"{name}: must be an integer from 1 to 255 ({usual}), not {value!r}")


def check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raises ValueError for a word that is not among ``known``."""
    if value not in known:
        words = " or ".join(map(repr, known)) if len(known) == 2 else f"one of {', '.join(known)}"
        raise ValueError(f"{name}: must be {words}, not {value!r}{did_you_mean(str(value), known)}")


def is_number(value: Any, kind: type) -> bool:
    """Whether a value is a number of that kind; True and False are not."""
    return isinstance(value, kind) and not isinstance(value, bool)


def describe(value: Any) -> str:
    """The shape and type of a wrong argument, for a message."""
    if isinstance(value, np.ndarray):
        return f"{value.shape} of {value.dtype}"
    return f"a {type(value).__name__}"
