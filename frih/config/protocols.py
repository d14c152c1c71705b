"""The protocols and metrics by which images are compared with real ones, as plain data.

A new protocol is a new entry of :data:`PROTOCOLS` and nothing else: the configuration accepts its name, ``evaluate.py`` offers
it, :mod:`frih.metrics` computes it, and the tests compare it with a literal computation. The entries are here and not in
:mod:`frih.metrics`, so that the configuration can refuse an unknown name before anything starts.
"""

from typing import Literal, NamedTuple


class Protocol(NamedTuple):
    """How one evaluator computes MSE, PSNR and fMSE, on values of 0..255."""

    summary: str
    """One line, printed with every table."""
    rounding: Literal["none", "truncate", "round", "jpeg"]
    """What happens to the values of both images, clamped to 0..255: ``none`` keeps fractions, ``truncate`` and ``round`` make
    8 bits of them, ``jpeg`` truncates and then saves as JPEG (quality 100, colours at half resolution)."""
    region: Literal["whole", "masked"]
    """MSE is the mean over the whole image of the squared error, or of the squared error times the mask."""
    peak: Literal["255", "real", "range"]
    """The peak of the PSNR: 255, the largest value of the real image, or the image's largest value less its smallest."""
    mask: Literal["soft", "binary"]
    """The mask keeps its grey borders as weights, or is thresholded at 0.5."""
    background: Literal["own", "real"]
    """The image's own background, or the real one, pasted by the mask before rounding."""
    epsilon: float
    """Added to the MSE under the PSNR."""
    users: str
    """Whose evaluators compute it this way."""


class Metric(NamedTuple):
    """Something to compute of an image."""

    label: str
    """Heading of its columns; the arrow points to the better."""
    better: Literal["lower", "higher"]


METRICS = {
    "mse": Metric("MSE↓", "lower"),
    "psnr": Metric("PSNR↑", "higher"),
    "fmse": Metric("fMSE↓", "lower"),
    "fpsnr": Metric("fPSNR↑", "higher"),
    "ssim": Metric("SSIM↑", "higher"),
    "fssim": Metric("fSSIM↑", "higher"),
    "ciede2000": Metric("ΔE00↓", "lower"),
    "lpips": Metric("LPIPS↓", "lower"),
}
"""All metrics; those with an ``f``, and ``ciede2000``, look at the foreground only. MSE, PSNR and fMSE follow the protocol. The
others are no evaluator's own: they take the images that the protocol makes (rounded, background pasted) and its mask."""
PAPER = ("mse", "psnr", "fmse")
"""The metrics of the paper's tables, which are always computed."""
DEFAULT = (*PAPER, "ssim")
"""The metrics that are computed unless others are named."""

PROTOCOLS = {
    "idih": Protocol(
        "whole image, unrounded; PSNR against the real image's largest value; fMSE by the grey mask",
        *("none", "whole", "real", "soft", "own", 1e-6),
        "iDIH, DucoNet, CDTNet",
    ),
    "dovenet": Protocol(
        "whole image, 8 bits truncated; PSNR against the range of the image's own values",
        *("truncate", "whole", "range", "binary", "own", 0.0),
        "DoveNet, BargainNet",
    ),
    "ht": Protocol(
        "whole image, saved as JPEG; PSNR against 255",
        *("jpeg", "whole", "255", "binary", "own", 0.0),
        "HarmonyTransformer, IIH",
    ),
    "pctnet": Protocol(
        "squared error inside the grey mask only, unrounded; PSNR against 255",
        *("none", "masked", "255", "soft", "own", 1e-6),
        "PCT-Net, AICT",
    ),
    "dccf": Protocol(
        "squared error inside the grey mask only, unrounded; PSNR against the real image's largest value",
        *("none", "masked", "real", "soft", "own", 1e-6),
        "DCCF, INR",
    ),
    "rainnet": Protocol(
        "real background pasted, 8 bits truncated; whole image; PSNR against 255",
        *("truncate", "whole", "255", "binary", "real", 0.0),
        "RainNet, HDNet",
    ),
    "diffharmony": Protocol(
        "real background pasted, 8 bits rounded; whole image; PSNR against 255",
        *("round", "whole", "255", "binary", "real", 0.0),
        "DiffHarmony, R2R",
    ),
    "frih": Protocol(
        "whole image, unrounded; PSNR against 255; fMSE by the mask thresholded at 0.5",
        *("none", "whole", "255", "binary", "own", 1e-6),
        "this project",
    ),
}
"""The field's evaluators, as far as they differ in arithmetic. How images came to their size is not part of a protocol."""
