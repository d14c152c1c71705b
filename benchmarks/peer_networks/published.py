"""What is published of each network: PSNR on all of iHarmony4's test set, and the protocol that made it.

iDIH256 and iSSAM256 by the table of their released weights, PCT-Net by the figures of each image that its authors released; the
others by their papers. Their evaluators differ more than some of the methods do.
"""

from typing import NamedTuple

from frih.evaluation.published import TABLE_1, TABLE_3, Printed


class Published(NamedTuple):
    """A published PSNR."""

    psnr: float
    protocol: str
    """In a word."""
    masked: bool = False
    """Only the error inside the mask counts, which flatters: the background's own error, mostly of JPEG, is left out."""
    parameters: float | None = None
    """Millions; like the multiply-adds only of networks that are imitated here."""
    multiply_adds: float | None = None
    """Billions, of an image of 256 x 256."""


def _psnr(table: Printed, method: str) -> float:
    """The PSNR that a table of the paper prints, over all images."""
    return next(float(line.figures[-1] or 0) for line in table.lines if line.method == method)


PUBLISHED = {
    "FRIH": Published(_psnr(TABLE_1, "FRIH"), "evaluator unpublished"),
    "base network": Published(_psnr(TABLE_3, "Baseline"), "evaluator unpublished"),
    "iDIH256": Published(36.99, "whole image", False, 8.30, 1.66),
    "iSSAM256": Published(37.95, "whole image", False, 2.19, 14.9),
    "Harmonizer": Published(_psnr(TABLE_1, "Harmonizer"), "whole image, output's range as peak", False, 4.73, 0.51),
    "PCT-Net CNN": Published(38.30, "inside the mask, full size", True, 2.19, 14.9),
    "PCT-Net ViT": Published(39.29, "inside the mask, full size", True, 4.81, 96.9),
    "DoveNet": Published(_psnr(TABLE_1, "DoveNet"), "whole image, 8 bits, output's range as peak", False, 54.8, 6.9),
    "DucoNet": Published(39.17, "whole image", False, 7.63, 36.2),
}
