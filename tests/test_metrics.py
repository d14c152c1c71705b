import math

import numpy as np
import pytest

from frih.metrics import PROTOCOLS, score


def flat(value: float, shape=(2, 2, 3)) -> np.ndarray:
    return np.full(shape, value)


def test_idih_by_hand():
    real, picture = flat(100.0), flat(100.0)
    real[1, 1, 2] = 200  # the largest value of the real picture is the peak
    picture[0, 0] = (110, 100, 80)
    mask = np.array([[1.0, 0.0], [0.0, 0.5]])
    picture[1, 1] = (100, 104, 200)
    scores = score(picture, real, mask, "idih")
    error = 100 + 0 + 400, 16
    mse = (error[0] + error[1]) / 12
    assert scores["mse"] == pytest.approx(mse)
    assert scores["psnr"] == pytest.approx(10 * math.log10(200**2 / (mse + 1e-6)))
    assert scores["fmse"] == pytest.approx((error[0] * 1.0 + error[1] * 0.5) / (3 * 1.5))


def test_idih_equals_a_literal_computation():
    rng = np.random.default_rng(0)
    picture, real = rng.uniform(-20, 280, (9, 7, 3)), rng.integers(0, 256, (9, 7, 3))
    mask = rng.uniform(0, 1, (9, 7))
    whole, inside, area, peak = 0.0, 0.0, 0.0, 0
    for h in range(9):
        for w in range(7):
            for c in range(3):
                difference = (min(max(picture[h, w, c], 0), 255) - real[h, w, c]) ** 2
                whole += difference
                inside += mask[h, w] * difference
                peak = max(peak, real[h, w, c])
            area += mask[h, w]
    scores = score(picture, real, mask)
    assert scores["mse"] == pytest.approx(whole / (9 * 7 * 3), rel=1e-12)
    assert scores["fmse"] == pytest.approx(inside / (3 * area), rel=1e-12)
    assert scores["psnr"] == pytest.approx(10 * math.log10(peak**2 / (whole / 189 + 1e-6)), rel=1e-12)


def test_identical_pictures_and_empty_masks():
    scores = score(flat(255.0), flat(255.0), np.zeros((2, 2)))
    assert scores["mse"] == 0
    assert scores["psnr"] == pytest.approx(10 * math.log10(255**2 / 1e-6))
    assert math.isnan(scores["fmse"])
    assert math.isfinite(score(flat(0.0), flat(0.0), np.ones((2, 2)))["psnr"])  # a black picture has no peak


def test_values_are_clamped_but_not_rounded():
    assert score(flat(300.0), flat(255.0), np.ones((2, 2)))["mse"] == 0
    assert score(flat(99.5), flat(100.0), np.ones((2, 2)))["mse"] == 0.25


def test_ssim_is_one_for_the_same_picture_only():
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (16, 16, 3)).astype(float)
    assert score(real, real, np.ones((16, 16)), ssim=True)["ssim"] == pytest.approx(1)
    assert score(real[::-1], real, np.ones((16, 16)), ssim=True)["ssim"] < 0.5
    assert "ssim" not in score(real, real, np.ones((16, 16)))


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 2), (2, 2, 4)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match="shapes differ"):
        score(flat(0.0, shape), flat(0.0), np.ones((2, 2)))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        score(flat(math.nan), flat(0.0), np.ones((2, 2)))


def test_protocols_are_filed_under_their_names():
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())
