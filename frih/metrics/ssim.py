"""Structural similarity (Wang et al. 2004) as scikit-image computes it, several times faster.

The windows are 7x7 and weigh all pixels alike, variances are those of samples, and K is (0.01, 0.03), which are scikit-image's
defaults. What is known of the real image is kept, for it is compared with several others.
"""

import numpy as np

SIDE = 7
"""Of a window, in pixels."""
MARGIN = SIDE // 2
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Windows:
    """What SSIM asks of one image alone: the mean and the variance in each window.

    Args:
        image: (H, W, 3) float64, 0..255. Beyond its borders it is mirrored.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = np.pad(image, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="symmetric")
        self.mean = _mean(self.image)
        self.variance = _sample(_mean(np.square(self.image)) - np.square(self.mean))


def similarity_map(a: Windows, b: Windows) -> np.ndarray:
    """The similarity of two images around each pixel, (H, W, 3), 1 where they are the same.

    Its mean over all but the outer three rows and columns is the structural similarity of the images.
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
    """Sums of each seven neighbours along the first axis: 4 + 2 + 1 of them."""
    two = a[:-1] + a[1:]
    four = two[:-2] + two[2:]
    total: np.ndarray = four[:-3] + two[4:-1] + a[6:]
    return total


def _sample(variance: np.ndarray) -> np.ndarray:
    """From the variance of a window's pixels to the estimate for what they are a sample of."""
    return variance * (SIDE**2 / (SIDE**2 - 1))
