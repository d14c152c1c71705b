"""FRIH: fine-grained region-aware image harmonization (Peng et al., AAAI 2024) in PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frih.harmonizing.harmonizer import Harmonizer
    from frih.models.frih import FRIH

__version__ = "0.1.0"
__all__ = ["FRIH", "Harmonizer", "__version__"]

_HOMES = {"FRIH": "frih.models.frih", "Harmonizer": "frih.harmonizing.harmonizer"}


def __getattr__(name: str) -> Any:
    """Imports the public classes when first asked for, so that ``frih.config`` and ``frih.submasks`` come without torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'frih' has no attribute {name!r}")
