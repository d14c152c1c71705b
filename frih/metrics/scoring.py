"""How close an image is to the real one, by a named protocol, on values of 0..255.

Evaluators of the field share the names MSE, PSNR and fMSE but not their meaning, so no figure is computed here without a
protocol, and none is reported without its name. :data:`PROTOCOLS` says how the field's evaluators differ, :data:`METRICS` what
can be computed. All are functions of one image; tables are means over images.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from frih.metrics.perceptual import load_lpips
from frih.metrics.ssim import MARGIN, SIDE, Windows, similarity_map

Scores = dict[str, float]
"""By the names of :data:`METRICS`; NaN where an image has none: those of the foreground where the mask is empty."""

LEAST = 1e-6
"""MSE under which no PSNR looks, and the least square of a peak: identical and black images have finite scores."""
BAND = 1 << 22
"""Pixels whose squared errors are summed at once; larger images go in bands, for the sake of memory."""
SMALL_BAND = 1 << 14
"""Pixels that are compared at once where it takes many arrays, which then stay in the processor's cache."""


class Protocol(NamedTuple):
    """How one evaluator computes MSE, PSNR and fMSE."""

    name: str
    summary: str
    """One line, printed with every table."""
    rounding: Literal["none", "truncate", "round", "jpeg"]
    """What becomes of the values of both images, clamped to 0..255: ``none`` leaves fractions, ``truncate`` and ``round``
    make 8 bits of them, ``jpeg`` truncates and then saves as JPEG (quality 100, colours at half resolution)."""
    region: Literal["whole", "masked"]
    """MSE is the mean over the whole image of the squared error, or of the squared error times the mask."""
    peak: Literal["255", "real", "range"]
    """Under the PSNR: 255, the largest value of the real image, or the difference of the image's largest and smallest."""
    mask: Literal["soft", "binary"]
    """Grey borders weigh as much as they are grey, or the mask is thresholded at 0.5."""
    background: Literal["own", "real"]
    """The image's own background, or the real one pasted over it, by the mask and before rounding."""
    epsilon: float
    """Added to the MSE under the PSNR."""
    users: str
    """Whose evaluators compute so."""

    @property
    def identical(self) -> str:
        """The rule for identical images."""
        if self.epsilon:
            return f"MSE 0 counts as {self.epsilon:g} under the PSNR"
        return f"MSE 0, of which the original makes an infinite PSNR, counts as {LEAST:g}"

    @property
    def empty(self) -> str:
        """The rule for an empty mask."""
        return "no score of the foreground; left out of its mean, counted, and named in the report"


class Metric(NamedTuple):
    """Something to compute of an image."""

    label: str
    """Heading of its columns; the arrow points to the better."""
    unit: str
    better: Literal["lower", "higher"]
    meaning: str


METRICS = {
    "mse": Metric("MSE↓", "levels²", "lower", "mean squared error over pixels and colours"),
    "psnr": Metric("PSNR↑", "dB", "higher", "10 log10 of the squared peak over the MSE"),
    "fmse": Metric("fMSE↓", "levels²", "lower", "mean squared error inside the foreground"),
    "fpsnr": Metric("fPSNR↑", "dB", "higher", "10 log10 of the squared peak over the fMSE"),
    "ssim": Metric("SSIM↑", "1 at most", "higher", "structural similarity, 7x7 windows, as in scikit-image"),
    "fssim": Metric("fSSIM↑", "1 at most", "higher", "mean of the structural similarity's map inside the foreground"),
    "ciede2000": Metric(
        "ΔE00↓", "ΔE00", "lower", "mean colour difference CIEDE2000 inside the foreground, sRGB under D65"
    ),
    "lpips": Metric("LPIPS↓", "0 at least", "lower", "distance of AlexNet's features (LPIPS 0.1); needs its weights"),
}
"""All metrics. Those besides MSE, PSNR and fMSE are no evaluator's own: they look at the images that the protocol makes
(rounded, background pasted), and those of the foreground weigh by its mask."""
PAPER = ("mse", "psnr", "fmse")
"""Those of the paper's tables, always computed."""
FOREGROUND = ("fmse", "fpsnr", "fssim", "ciede2000")
"""Those that an image with an empty mask does not have."""

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "idih",
            "whole image, unrounded; PSNR against the real image's largest value; fMSE by the grey mask",
            *("none", "whole", "real", "soft", "own", 1e-6),
            "iDIH, DucoNet, CDTNet",
        ),
        Protocol(
            "dovenet",
            "whole image, 8 bits truncated; PSNR against the range of the image's own values",
            *("truncate", "whole", "range", "binary", "own", 0.0),
            "DoveNet, BargainNet",
        ),
        Protocol(
            "ht",
            "whole image, saved as JPEG; PSNR against 255",
            *("jpeg", "whole", "255", "binary", "own", 0.0),
            "HarmonyTransformer, IIH",
        ),
        Protocol(
            "pctnet",
            "squared error inside the grey mask only, unrounded; PSNR against 255",
            *("none", "masked", "255", "soft", "own", 1e-6),
            "PCT-Net, AICT",
        ),
        Protocol(
            "dccf",
            "squared error inside the grey mask only, unrounded; PSNR against the real image's largest value",
            *("none", "masked", "real", "soft", "own", 1e-6),
            "DCCF, INR",
        ),
        Protocol(
            "rainnet",
            "real background pasted, 8 bits truncated; whole image; PSNR against 255",
            *("truncate", "whole", "255", "binary", "real", 0.0),
            "RainNet, HDNet",
        ),
        Protocol(
            "diffharmony",
            "real background pasted, 8 bits rounded; whole image; PSNR against 255",
            *("round", "whole", "255", "binary", "real", 0.0),
            "DiffHarmony, R2R",
        ),
        Protocol(
            "frih",
            "whole image, unrounded; PSNR against 255; fMSE by the mask thresholded at 0.5",
            *("none", "whole", "255", "binary", "own", 1e-6),
            "this project",
        ),
    )
}
"""The field's evaluators, as far as they differ in arithmetic. How images came to their size is not part of a protocol."""


class Row(NamedTuple):
    """The figures of one image: what every table is made from."""

    subset: str
    name: str
    """File name of the composite."""
    real: str
    """File name of the real image, which several composites may share."""
    fg_ratio: float
    """Share of the pixels, at the evaluated size, that are foreground; 0 for an empty mask."""
    submasks: int
    """K, the number of submasks."""
    scores: Scores
    """Of the final image by the metric's name; of others with the name in front, as ``input_mse`` or ``coarse_psnr``."""


class Scoring(NamedTuple):
    """What is computed of each image."""

    protocols: tuple[str, ...] = ("idih",)
    """Names of :data:`PROTOCOLS`."""
    metrics: tuple[str, ...] = (*PAPER, "ssim")
    """Names of :data:`METRICS`; the paper's are computed whether named or not."""
    lpips: str | None = None
    """File of AlexNet's weights, for LPIPS."""

    def check(self) -> None:
        """Sees to it that everything is there.

        Raises:
            UserError: LPIPS is asked for, and its weights or its package are missing.
        """
        if "lpips" in self.metrics:
            load_lpips(self.lpips)


class Target:
    """A real image, with which any number of images are compared by one protocol.

    Args:
        real: (H, W, 3), 0..255.
        soft_mask: (H, W), 0..1, 1 = foreground; its grey borders count as the protocol says.
        protocol: a name in :data:`PROTOCOLS`.
        metrics: names in :data:`METRICS`; the paper's are computed whether named or not.
        lpips: file of AlexNet's weights, for LPIPS.

    Raises:
        UserError: LPIPS is asked for, and its weights or its package are missing.
    """

    def __init__(
        self,
        real: np.ndarray,
        soft_mask: np.ndarray,
        protocol: str = "idih",
        metrics: Sequence[str] = PAPER,
        lpips: str | None = None,
    ) -> None:
        self.protocol = PROTOCOLS[protocol]
        self.metrics = [name for name in METRICS if name in (*PAPER, *metrics)]
        self.source = np.asarray(real, dtype=np.float64)
        self.real = self._rounded(self.source)
        soft = np.asarray(soft_mask, dtype=np.float64)
        self.mask = soft if self.protocol.mask == "soft" else (soft >= 0.5).astype(np.float64)
        self.area = float(self.mask.sum())
        self.distance = load_lpips(lpips) if "lpips" in self.metrics else None
        self._windows: dict[int, Windows] = {}

    def score(self, image: np.ndarray) -> Scores:
        """Compares an image (H, W, 3), 0..255, with the real one; fractions count as the protocol says.

        Raises:
            ValueError: the shapes differ, or a value is not finite.
        """
        if not image.shape == self.real.shape == (*self.mask.shape, 3):
            raise ValueError(f"shapes differ: image {image.shape}, real {self.real.shape}, mask {self.mask.shape}")
        if not np.isfinite(image).all():
            raise ValueError("the image holds values that are not finite")
        image = self._prepared(image)
        inside, mse = self._squared_errors(image)
        fmse = inside / (3 * self.area) if self.area > 0 else math.nan
        scores = {"mse": mse, "psnr": self._psnr(mse, image), "fmse": fmse, "fpsnr": self._psnr(fmse, image)}
        if "ssim" in self.metrics or "fssim" in self.metrics:
            scores |= self._similarity(image)
        if "ciede2000" in self.metrics:
            scores["ciede2000"] = self._color_difference(image)
        if self.distance:
            scores["lpips"] = self.distance(image, self.real)
        return {name: scores[name] for name in self.metrics}

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """Clamped, with the background and the rounding of the protocol: float64."""
        image = np.clip(np.asarray(image, dtype=np.float64), 0, 255)
        if self.protocol.background == "real":
            image = np.where(self.mask[..., None] > 0, image, self.source)  # the mask is binary
        return self._rounded(image)

    def _rounded(self, image: np.ndarray) -> np.ndarray:
        return ROUNDINGS[self.protocol.rounding](image)

    def _squared_errors(self, image: np.ndarray) -> tuple[float, float]:
        """The weighted sum inside the mask, and the MSE."""
        inside, everywhere = [], []
        for band in self._bands(BAND):
            error = np.square(image[band] - self.real[band])
            inside.append(float((error * self.mask[band][..., None]).sum()))
            everywhere.append(float(error.sum()))
        total = inside if self.protocol.region == "masked" else everywhere
        return math.fsum(inside), math.fsum(total) / image.size

    def _psnr(self, mse: float, image: np.ndarray) -> float:
        peak = {
            "255": lambda: 255.0,
            "real": lambda: float(self.real.max()),
            "range": lambda: float(image.max() - image.min()),
        }[self.protocol.peak]()
        if math.isnan(mse):
            return math.nan
        return 10 * math.log10(max(peak**2, LEAST) / max(mse + self.protocol.epsilon, LEAST))

    def _similarity(self, image: np.ndarray) -> Scores:
        """``ssim``, the mean over all windows inside the image, and ``fssim``."""
        height, width = self.mask.shape
        if min(height, width) < SIDE:
            raise ValueError(f"structural similarity needs images of at least {SIDE} x {SIDE} pixels")
        whole, inside = [], []
        for band in self._bands(SMALL_BAND):
            above = band.start - _with_margin(band).start
            found = similarity_map(Windows(image[_with_margin(band)]), self._real_windows(band))[above:][: _rows(band)]
            inner = slice(max(0, MARGIN - band.start), max(0, height - MARGIN - band.start))
            whole.append(float(found[inner, MARGIN:-MARGIN].sum()))
            inside.append(float((found * self.mask[band][..., None]).sum()))
        windows = (height - 2 * MARGIN) * (width - 2 * MARGIN)
        fssim = math.fsum(inside) / (3 * self.area) if self.area > 0 else math.nan
        return {"ssim": math.fsum(whole) / (3 * windows), "fssim": fssim}

    def _real_windows(self, band: slice) -> Windows:
        """Those of the real image, kept for the next one; those of a large image would fill the memory."""
        windows = self._windows.get(band.start) or Windows(self.real[_with_margin(band)])
        if self.mask.size <= BAND:
            self._windows[band.start] = windows
        return windows

    def _color_difference(self, image: np.ndarray) -> float:
        from skimage.color import deltaE_ciede2000, rgb2lab

        if self.area == 0:
            return math.nan
        total = []
        for band in self._bands(SMALL_BAND):
            inside = self.mask[band] > 0
            ours, theirs = (rgb2lab(one[band][inside] / 255) for one in (image, self.real))
            total.append(float((deltaE_ciede2000(ours, theirs) * self.mask[band][inside]).sum()))
        return math.fsum(total) / self.area

    def _bands(self, pixels: int) -> Iterator[slice]:
        """Rows that are looked at together, of about so many pixels."""
        height, width = self.mask.shape
        rows = max(1, pixels // width)
        return (slice(start, min(start + rows, height)) for start in range(0, height, rows))


def score(
    image: np.ndarray,
    real: np.ndarray,
    soft_mask: np.ndarray,
    protocol: str = "idih",
    metrics: Sequence[str] = PAPER,
    lpips: str | None = None,
) -> Scores:
    """Compares an image with the real one; arguments and errors as those of :class:`Target` and its ``score``."""
    return Target(real, soft_mask, protocol, metrics, lpips).score(image)


def _as_jpeg(image: np.ndarray) -> np.ndarray:
    """Truncated, saved as JPEG of quality 100 (colours at half resolution, as Pillow does unless told) and read again."""
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=100)
    return np.asarray(Image.open(file), dtype=np.float64)


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "truncate": np.trunc,
    "round": np.rint,
    "jpeg": _as_jpeg,
}


def _with_margin(band: slice) -> slice:
    """A band and what its windows see above and below."""
    return slice(max(0, band.start - MARGIN), band.stop + MARGIN)


def _rows(band: slice) -> int:
    return int(band.stop - band.start)
