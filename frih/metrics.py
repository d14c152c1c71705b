"""How close a picture is to the real one, by a named protocol, on values of 0..255.

Evaluators of the field share the names MSE, PSNR and fMSE but not their meaning, so no figure is computed here without a
protocol, and none is reported without its name. All are pure functions of one picture; tables are means over pictures.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from skimage.metrics import structural_similarity

Scores = dict[str, float]
"""``mse`` (lower is better), ``psnr`` in dB (higher), ``fmse`` (lower; NaN for an empty mask), and ``ssim`` (higher)."""


class Protocol(NamedTuple):
    """A rule for MSE, PSNR and fMSE."""

    name: str
    summary: str
    """One line, printed with every table."""
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], Scores]
    """(picture, real, soft_mask) to ``mse``, ``psnr`` and ``fmse``; arguments as those of :func:`score`, in float64."""


class Row(NamedTuple):
    """The figures of one picture: what every table is made from."""

    subset: str
    name: str
    """File name of the composite."""
    fg_ratio: float
    """Share of the pixels, at the evaluated size, that are foreground; 0 for an empty mask."""
    submasks: int
    """K, the number of submasks."""
    scores: Scores
    """Of the final picture by the metric's name; of others with the name in front, as ``input_mse`` or ``coarse_psnr``."""


def score(
    picture: np.ndarray, real: np.ndarray, soft_mask: np.ndarray, protocol: str = "idih", *, ssim: bool = False
) -> Scores:
    """Compares a picture with the real one.

    Args:
        picture: (H, W, 3), 0..255; fractions count.
        real: (H, W, 3), 0..255.
        soft_mask: (H, W), 0..1, 1 = foreground; its grey borders count as the protocol says.
        protocol: a name in :data:`PROTOCOLS`.
        ssim: compute the structural similarity (Wang et al. 2004; scikit-image, 7x7 windows, data range 255) as well.

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    if not picture.shape == real.shape == (*soft_mask.shape, 3):
        raise ValueError(f"shapes differ: picture {picture.shape}, real {real.shape}, mask {soft_mask.shape}")
    picture, real, soft_mask = (np.asarray(array, dtype=np.float64) for array in (picture, real, soft_mask))
    if not np.isfinite(picture).all():
        raise ValueError("the picture holds values that are not finite")
    scores = PROTOCOLS[protocol].score(picture, real, soft_mask)
    if ssim:
        scores["ssim"] = float(structural_similarity(real, picture, channel_axis=-1, data_range=255))
    return scores


def _idih(picture: np.ndarray, real: np.ndarray, soft_mask: np.ndarray) -> Scores:
    """The evaluator of iDIH (Sofiiuk et al. 2021): MSE + 1e-6 under the PSNR, so identical pictures score about 108 dB."""
    error = np.square(np.clip(picture, 0, 255) - real)
    mse = float(error.mean())
    area = float(soft_mask.sum())
    return {
        "mse": mse,
        "psnr": 10 * math.log10(max(float(real.max()) ** 2, 1e-6) / (mse + 1e-6)),
        "fmse": float((error * soft_mask[..., None]).sum()) / (3 * area) if area > 0 else math.nan,
    }


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "idih",
            "whole picture, unrounded; PSNR against the real picture's largest value; fMSE by the grey mask",
            _idih,
        ),
    )
}
