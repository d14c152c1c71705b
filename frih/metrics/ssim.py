"""Structural similarity (Wang et al. 2004) with scikit-image's defaults.

The windows are 7x7 and weigh all pixels alike, variances are those of samples, and K is (0.01, 0.03). The results are those of
``skimage.metrics.structural_similarity`` but for float rounding. The windows of the real image are computed once, although it
is compared with several images.
"""

import numpy as np

SIDE = 7
"""Side of a window, in pixels."""
MARGIN = SIDE // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Windows:
    """What SSIM needs of one image alone: the mean and the variance in each window.

    Args:
        image: (H, W, 3) float64, 0..255. Beyond its borders it is mirrored.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="symmetric")
        self.mean = _mean(self.image)
        self.variance = _sample(_mean(np.square(self.image)) - np.square(self.mean))


def similarity_map(a: Windows, b: Windows) -> np.ndarray:
    """The similarity of two images around each pixel, (H, W, 3), 1 where they are the same.

    The structural similarity of the images is its mean without the outer three rows and columns.
    """
    product = a.mean * b.mean
    covariance = _sample(_mean(a.image * b.image) - product)
    above = (2 * product + _C1) * (2 * covariance + _C2)
    below = (np.square(a.mean) + np.square(b.mean) + _C1) * (a.variance + b.variance + _C2)
    result: np.ndarray = above / below
    return result


def _mean(padded: np.ndarray) -> np.ndarray:
    """The mean of each window, (H, W, 3), of an image with its margin."""
    rows = _sums_of_seven(padded)
    means: np.ndarray = _sums_of_seven(rows.swapaxes(0, 1)).swapaxes(0, 1) / SIDE**2
    return means


def _sums_of_seven(a: np.ndarray) -> np.ndarray:
    """Sums of seven neighbours along the first axis, as 4 + 2 + 1."""
    two = a[:-1] + a[1:]
    four = two[:-2] + two[2:]
    total: np.ndarray = four[:-3] + two[4:-1] + a[6:]
    return total


def _sample(variance: np.ndarray) -> np.ndarray:
    """From the variance of a window's pixels to that of a sample."""
    return variance * (SIDE**2 / (SIDE**2 - 1))
