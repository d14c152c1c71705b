"""How close an image is to the real one, by a named protocol, on values of 0..255.

Evaluators of the field use the names MSE, PSNR and fMSE for different things, so no figure is computed here without a protocol,
and none is reported without its name. All are functions of one image; tables are means over images.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from frih.config.protocols import DEFAULT, METRICS, PAPER, PROTOCOLS
from frih.metrics.perceptual import load_lpips
from frih.metrics.ssim import MARGIN, SIDE, Windows, similarity_map

Scores = dict[str, float]
"""By the names of :data:`METRICS`. Those of the foreground are NaN where the mask is empty."""

LEAST = 1e-6
"""Smallest MSE under the PSNR, and smallest square of a peak: identical and black images have finite scores."""
BAND = 1 << 22
"""Pixels whose squared errors are summed at once; larger images are taken in bands, to save memory."""
SMALL_BAND = 1 << 14
"""Pixels that are compared at once where this takes many arrays, so that they stay in the processor's cache."""


class Row(NamedTuple):
    """The figures of one image. All tables are made from rows."""

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
    """Scores of the final image by the metric's name; others have a prefix, as ``input_mse`` or ``coarse_psnr``."""


class Scoring(NamedTuple):
    """What is computed of each image."""

    protocols: tuple[str, ...] = ("idih",)
    """Names of :data:`PROTOCOLS`."""
    metrics: tuple[str, ...] = DEFAULT
    """Names of :data:`METRICS`; the paper's are always computed."""
    lpips: str | None = None
    """File of AlexNet's weights, for LPIPS."""

    def check(self) -> None:
        """Loads what LPIPS needs, if it is among the metrics.

        Raises:
            UserError: its weights or its package are missing.
        """
        if "lpips" in self.metrics:
            load_lpips(self.lpips)


class Target:
    """A real image, with which any number of images are compared by one protocol.

    Args:
        real: (H, W, 3), 0..255.
        soft_mask: (H, W), 0..1, 1 = foreground; the protocol says how grey borders count.
        protocol: a name in :data:`PROTOCOLS`.
        metrics: names in :data:`METRICS`; the paper's are always computed.
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
        self.rounded = ROUNDINGS[self.protocol.rounding]
        self.real = self.rounded(self.source)
        soft = np.asarray(soft_mask, dtype=np.float64)
        self.mask = soft if self.protocol.mask == "soft" else (soft >= 0.5).astype(np.float64)
        self.area = float(self.mask.sum())
        self.distance = load_lpips(lpips) if "lpips" in self.metrics else None
        self._windows: dict[int, Windows] = {}

    def score(self, image: np.ndarray) -> Scores:
        """Compares an image (H, W, 3), 0..255, with the real one; the protocol says how fractions count.

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
        return self.rounded(image)

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
        if math.isnan(mse):
            return math.nan
        peak = 255.0
        if self.protocol.peak == "real":
            peak = float(self.real.max())
        elif self.protocol.peak == "range":
            peak = float(image.max() - image.min())
        return 10 * math.log10(max(peak**2, LEAST) / max(mse + self.protocol.epsilon, LEAST))

    def _similarity(self, image: np.ndarray) -> Scores:
        """``ssim``, the mean over all windows inside the image, and ``fssim``."""
        height, width = self.mask.shape
        if min(height, width) < SIDE:
            raise ValueError(f"structural similarity needs images of at least {SIDE} x {SIDE} pixels")
        whole, inside = [], []
        for band in self._bands(SMALL_BAND):
            wider = slice(max(0, band.start - MARGIN), band.stop + MARGIN)
            found = similarity_map(Windows(image[wider]), self._real_windows(wider))
            found = found[band.start - wider.start :][: band.stop - band.start]
            inner = slice(max(0, MARGIN - band.start), max(0, height - MARGIN - band.start))
            whole.append(float(found[inner, MARGIN:-MARGIN].sum()))
            inside.append(float((found * self.mask[band][..., None]).sum()))
        windows = (height - 2 * MARGIN) * (width - 2 * MARGIN)
        fssim = math.fsum(inside) / (3 * self.area) if self.area > 0 else math.nan
        return {"ssim": math.fsum(whole) / (3 * windows), "fssim": fssim}

    def _real_windows(self, band: slice) -> Windows:
        """Windows of the real image, kept for the next image unless they are so large that they would fill the memory."""
        windows = self._windows.get(band.stop) or Windows(self.real[band])
        if self.mask.size <= BAND:
            self._windows[band.stop] = windows
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
        """Bands of rows that have about so many pixels each."""
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
    """Compares an image with the real one. Arguments and errors are those of :class:`Target` and its ``score``."""
    return Target(real, soft_mask, protocol, metrics, lpips).score(image)


def _as_jpeg(image: np.ndarray) -> np.ndarray:
    """Truncated, saved as JPEG of quality 100 (by Pillow's default, colours at half resolution) and read again."""
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=100)
    return np.asarray(Image.open(file), dtype=np.float64)


ROUNDINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda image: image,
    "truncate": np.trunc,
    "round": np.rint,
    "jpeg": _as_jpeg,
}
