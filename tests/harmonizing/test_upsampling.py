import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from frih.harmonizing.upsampling import Change, add_change, extend, fit_change, smooth
from tests.conftest import ellipse, form, smooth_image

SIZE = 64


def literal(change: Change, image: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """The change as PyTorch enlarges it, all of the image at once."""

    def enlarged(array, mode):
        planes = torch.from_numpy(array.reshape(SIZE, SIZE, -1)).permute(2, 0, 1)[None].double()
        return F.interpolate(planes, size=mask.shape, mode=mode)[0].permute(1, 2, 0).numpy()

    slopes = enlarged(change.slopes, "bilinear").reshape(*mask.shape, 3, 3)
    detail = mask[..., None] / 255 * (image - enlarged(change.composite, "bicubic"))
    added = enlarged(change.change, "bicubic") + np.einsum("hwi,hwij->hwj", detail, slopes)
    return np.clip(image + strength * mask[..., None] / 255 * added, 0, 1)


@pytest.fixture
def change():
    rng = np.random.default_rng(0)
    change, composite = rng.normal(0, 0.1, (SIZE, SIZE, 3)), rng.random((SIZE, SIZE, 3))
    slopes = rng.normal(0, 0.2, (SIZE, SIZE, 3, 3))
    return Change(*(array.astype(np.float32) for array in (change, composite, slopes)))


@pytest.mark.parametrize("size", [(90, 150), (64, 64), (30, 200), (1, 70), (70, 1)])
def test_a_change_is_added_as_pytorch_enlarges_it(change, size):
    rng = np.random.default_rng(1)
    image, mask = rng.random((*size, 4)), rng.integers(0, 256, size).astype(np.uint8)
    mask[: size[0] // 3] = 0
    result = image.copy()
    with form("compiled"):
        add_change(change, result, mask, 0.7)
    np.testing.assert_allclose(result[..., :3], literal(change, image[..., :3], mask, 0.7), atol=1e-5)
    assert np.array_equal(result[..., 3], image[..., 3])
    assert np.array_equal(result[mask == 0], image[mask == 0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_the_plain_form_equals_the_compiled_one(change, dtype):
    rng = np.random.default_rng(1)
    image = (rng.random((90, 500, 4)) * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1)).astype(dtype)
    mask = rng.integers(0, 256, (90, 500)).astype(np.uint8)
    mask[:, :100] = mask[10:30] = 0
    results = []
    for name in ("plain", "compiled"):
        results.append(image.copy())
        with form(name):
            add_change(change, results[-1], mask, 0.7)
    assert np.array_equal(*results)
    assert not np.array_equal(results[0], image)
    with form("plain"):
        add_change(change, image, mask, 0.7, threads=1)
    assert np.array_equal(image, results[0])


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_rounded(change, dtype, top):
    rng = np.random.default_rng(2)
    image = rng.integers(0, top + 1, (80, 90, 3)).astype(dtype)
    expected = top * literal(change, image / top, np.full((80, 90), 255, np.uint8), 1)
    assert np.abs(added(change, image) - expected).max() < 0.5 + 1e-5 * top


def fit(composite, refined, labels=None):
    """The change of an image that is all foreground."""
    mask = np.ones(composite.shape[:2], bool)
    return fit_change(composite, refined, mask, mask.astype(float), mask.astype(np.uint8) if labels is None else labels)


def added(change, image):
    """The whole image with a change."""
    result = image.copy()
    add_change(change, result, np.full(image.shape[:2], 255, np.uint8))
    return result


def submasks(composite, mask):
    return np.where(mask, 1 + (np.arange(composite.shape[1]) >= composite.shape[1] // 2), 0).astype(np.uint8)


def test_at_the_networks_size_its_image_comes_back():
    rng = np.random.default_rng(3)
    composite, refined = rng.random((2, SIZE, SIZE, 3)).astype(np.float32)
    mask = ellipse(SIZE, SIZE, grow=3) >= 128
    change = fit_change(composite, refined, mask, mask.astype(np.float32), submasks(composite, mask))
    result = composite.copy()
    add_change(change, result, mask.astype(np.uint8) * 255)
    np.testing.assert_allclose(result[mask], refined[mask], atol=1e-5)


def test_texture_that_the_network_cannot_see_is_changed_as_what_it_sees():
    """If the network halves the contrast of what it sees, that of twice as fine a texture is halved too."""
    rng = np.random.default_rng(4)
    large = np.clip(0.5 + 0.1 * rng.normal(size=(4 * SIZE, 4 * SIZE, 1)) * np.ones(3), 0, 1)
    large += 0.15 * (smooth_image(seed=5, width=4 * SIZE, height=4 * SIZE) / 255 - 0.5)
    means = large.reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3))
    small = np.clip(means + 0.1 * rng.normal(size=means.shape[:2])[..., None], 0, 1)
    large = np.clip(large + (small - means).repeat(4, 0).repeat(4, 1), 0, 1)
    change = fit(small, 0.5 * small + 0.2)
    inner = slice(8 * 4, -8 * 4)
    ours, plain = (
        np.abs(added(one, large) - (0.5 * large + 0.2))[inner, inner].mean()
        for one in (change, change._replace(slopes=np.zeros_like(change.slopes)))
    )
    assert ours < 0.25 * plain


def test_no_rim_of_the_old_colour_at_the_masks_border():
    """A constant change stays whole up to the border, though the network's pixels there are half background."""
    image = np.full((8 * SIZE, 8 * SIZE, 3), 0.4)
    mask = ellipse(8 * SIZE, 8 * SIZE, grow=3)
    soft = (mask / 255).reshape(SIZE, 8, SIZE, 8).mean(axis=(1, 3))
    composite, small = np.full((SIZE, SIZE, 3), 0.4), soft >= 0.5
    refined = composite + np.where(small, soft, 0)[..., None] * 0.2  # the network makes half a change of half a pixel
    change = fit_change(composite, refined, small, soft, small.astype(np.uint8))
    add_change(change, image, mask)
    np.testing.assert_allclose(image, 0.4 + 0.2 * mask[..., None] / 255 * np.ones(3), atol=2e-3)


def test_texture_is_changed_up_to_the_masks_border():
    rng = np.random.default_rng(9)
    noise = gaussian_filter(rng.normal(size=(4 * SIZE, 4 * SIZE)), 1)
    image = np.clip(0.5 + 0.1 * noise / noise.std(), 0, 1)[..., None] * np.ones(3)
    mask = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    mask[64:192, 64:192] = 255
    composite, small = image.reshape(SIZE, 4, SIZE, 4, 3).mean(axis=(1, 3)), mask[::4, ::4] > 0
    refined = np.where(small[..., None], 0.25 + 0.5 * composite, composite)
    change = fit_change(composite, refined, small, small.astype(float), small.astype(np.uint8))
    result = image.copy()
    add_change(change, result, mask)
    error = np.abs(result - (0.25 + 0.5 * image))[64:68, 96:160].mean()
    assert error < 0.005  # unchanged: 0.04
    assert np.array_equal(result[mask == 0], image[mask == 0])


def test_submasks_keep_their_own_slopes():
    size = 256
    rng = np.random.default_rng(6)
    composite = 0.5 + gaussian_filter(rng.normal(size=(size, size, 3)), (2, 2, 0))
    labels = submasks(composite, np.ones((size, size), bool))
    gain = np.where(labels == 1, 0.5, -0.3)[..., None]
    change = fit(composite, composite + gain * (composite - 0.5), labels)
    np.testing.assert_allclose(np.diagonal(change.slopes[8:-8, 8:100].mean(axis=(0, 1))), 0.5, atol=0.05)
    np.testing.assert_allclose(np.diagonal(change.slopes[8:-8, -100:-8].mean(axis=(0, 1))), -0.3, atol=0.05)


def test_a_network_that_blurs_removes_no_detail():
    rng = np.random.default_rng(7)
    composite = 0.5 + 0.1 * rng.normal(size=(SIZE, SIZE, 3))
    planes = torch.from_numpy(composite).permute(2, 0, 1)[None]
    blurred = F.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)[0].permute(1, 2, 0).numpy()
    assert np.abs(fit(composite, blurred).slopes).max() < 0.1


def test_a_network_that_blurs_and_halves_the_contrast_leaves_detail_alone():
    rng = np.random.default_rng(8)
    composite = 0.5 + gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (0.8, 0.8, 0))
    halved = 0.25 + 0.5 * composite
    for refined, slope in ((halved, 0.5), (gaussian_filter(halved, (1.2, 1.2, 0), mode="nearest"), 0)):
        inner = np.diagonal(fit(composite, refined).slopes[16:-16, 16:-16].mean(axis=(0, 1)))
        np.testing.assert_allclose(inner, -slope, atol=0.03)


@pytest.mark.parametrize("sigma", [0.7, 2, 16])
def test_smoothing(sigma):
    values = np.random.default_rng(10).random((SIZE, SIZE, 2)).astype(np.float32)
    expected = gaussian_filter(values, (sigma, sigma, 0), mode="constant")
    np.testing.assert_allclose(smooth(values, sigma), expected, rtol=0, atol=1e-6)


def test_filling():
    values, weight = np.zeros((8, 8, 1)), np.zeros((8, 8))
    values[2, 3], weight[2, 3] = 5, 1
    np.testing.assert_allclose(extend(values, weight), 5)
    values[5, 6], weight[5, 6] = 1, 1
    filled = extend(values, weight)
    assert filled[2, 3] == 5
    assert filled[5, 6] == 1
    assert filled[1, 3] > 3 > filled[6, 6]
    assert np.array_equal(extend(values, np.ones((8, 8))), values)
