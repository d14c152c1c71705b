"""How close an image is to the real one, by named protocols.

:mod:`~frih.metrics.scoring` holds the protocols and what they compute; :mod:`~frih.metrics.ssim` and
:mod:`~frih.metrics.perceptual` (LPIPS) are metrics that take more than a mean; :mod:`~frih.metrics.harm` says which images
are worse than their composites.
"""

from frih.metrics.harm import HARM, with_harm
from frih.metrics.scoring import (
    FOREGROUND,
    METRICS,
    PAPER,
    PROTOCOLS,
    Metric,
    Protocol,
    Row,
    Scores,
    Scoring,
    Target,
    score,
)

__all__ = [
    "FOREGROUND",
    "HARM",
    "METRICS",
    "PAPER",
    "PROTOCOLS",
    "Metric",
    "Protocol",
    "Row",
    "Scores",
    "Scoring",
    "Target",
    "score",
    "with_harm",
]
