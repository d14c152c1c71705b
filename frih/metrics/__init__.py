"""How close a picture is to the real one, by named protocols.

:mod:`~frih.metrics.scoring` holds the protocols and what they compute; :mod:`~frih.metrics.ssim` and
:mod:`~frih.metrics.perceptual` (LPIPS) are metrics that take more than a mean.
"""

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
]
