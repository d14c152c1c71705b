"""How close an image is to the real one.

The protocols and metrics are listed in :mod:`frih.config.protocols` and computed in :mod:`~frih.metrics.scoring`;
:mod:`~frih.metrics.ssim` and :mod:`~frih.metrics.perceptual` (LPIPS) are metrics that take more than a mean.
:mod:`~frih.metrics.harm` says which images are worse than their composites.
"""

from frih.config.protocols import METRICS, PAPER, PROTOCOLS
from frih.metrics.harm import HARM, with_harm
from frih.metrics.scoring import Row, Scores, Scoring, Target, score

__all__ = [
    "HARM",
    "METRICS",
    "PAPER",
    "PROTOCOLS",
    "Row",
    "Scores",
    "Scoring",
    "Target",
    "score",
    "with_harm",
]
