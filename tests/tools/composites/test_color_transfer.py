"""The four transfers against the theory of each, on colours whose results stay inside [0, 1]."""

import numpy as np
import pytest

from frih.tools.composites import color_transfer
from frih.tools.composites.color_transfer import (
    TRANSFERS,
    regrain,
    transfer_fecker,
    transfer_pitie,
    transfer_reinhard,
    transfer_xiao,
)

EVERY = pytest.mark.parametrize("transfer", TRANSFERS.values(), ids=TRANSFERS.keys())


def cloud(seed, count, mean, spread):
    """Correlated colours around a mean."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(3) + rng.uniform(0, 0.8, (3, 3))
    return np.clip(np.asarray(mean) + spread * rng.uniform(-1, 1, (count, 3)) @ mixing, 0, 1)


@pytest.fixture
def source():
    return cloud(1, 3000, (0.5, 0.4, 0.35), 0.06)


@pytest.fixture
def reference():
    return cloud(2, 2000, (0.4, 0.45, 0.5), 0.08)


def to_lab(rgb):
    """l-alpha-beta as in the paper, with the offset of this implementation."""
    r, g, b = rgb.T
    long = np.log10(0.3811 * r + 0.5783 * g + 0.0402 * b + 1 / 255)
    medium = np.log10(0.1967 * r + 0.7244 * g + 0.0782 * b + 1 / 255)
    short = np.log10(0.0241 * r + 0.1288 * g + 0.8444 * b + 1 / 255)
    lightness, yellow = (long + medium + short) / np.sqrt(3), (long + medium - 2 * short) / np.sqrt(6)
    return np.stack([lightness, yellow, (long - medium) / np.sqrt(2)], axis=1)


def levels(rgb):
    """8-bit YCbCr of ITU-R BT.601."""
    r, g, b = rgb.T
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    cb = 128 - 37.797 * r - 74.203 * g + 112 * b
    cr = 128 + 112 * r - 93.786 * g - 18.214 * b
    return np.rint(np.stack([y, cb, cr], axis=1)).astype(int)


def distance(first, second):
    """Mean difference of the quantiles over 40 directions, in 8-bit levels (the sliced Wasserstein distance)."""
    directions = np.random.default_rng(0).standard_normal((3, 40))
    directions /= np.linalg.norm(directions, axis=0)
    shares = np.linspace(0.01, 0.99, 99)
    gaps = np.quantile(first @ directions, shares, axis=0) - np.quantile(second @ directions, shares, axis=0)
    return 255 * np.abs(gaps).mean()


def test_reinhard_gives_the_references_moments_in_lab(source, reference):
    result, goal = to_lab(transfer_reinhard(source, reference)), to_lab(reference)
    np.testing.assert_allclose(result.mean(axis=0), goal.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(result.std(axis=0), goal.std(axis=0), atol=1e-9)


def test_xiao_gives_the_references_mean_and_covariance(source, reference):
    result = transfer_xiao(source, reference)
    np.testing.assert_allclose(result.mean(axis=0), reference.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.cov(result.T, bias=True), np.cov(reference.T, bias=True), atol=1e-9)


def test_xiao_by_hand():
    # spread 0.1 along red alone, to be 0.2 along red about another mean
    source = np.array([[0.4, 0.5, 0.5], [0.6, 0.5, 0.5]])
    reference = np.array([[0.2, 0.3, 0.4], [0.6, 0.3, 0.4]])
    np.testing.assert_allclose(transfer_xiao(source, reference), reference, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_xiao_makes_no_negative(seed):
    # turned about, the decompositions have all manner of signs; what varied along an axis must go on varying that way
    rng = np.random.default_rng(seed)
    spreads = np.diag([0.09, 0.05, 0.02])
    source, reference = (
        0.5 + rng.uniform(-1, 1, (400, 3)) @ spreads @ np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)
    )
    result = transfer_xiao(source, reference)
    axes = np.linalg.svd(np.cov(source.T))[0]
    moved = np.linalg.lstsq(source - source.mean(axis=0), result - result.mean(axis=0), rcond=None)[0]
    for axis in axes.T:
        assert axis @ moved.T @ axis >= 0


def test_fecker_follows_its_rule(source, reference):
    before, goal, after = levels(source), levels(reference), levels(transfer_fecker(source, reference))
    for channel in range(3):
        for level in np.unique(before[:, channel]):
            share = (before[:, channel] <= level).mean()
            known = np.unique(goal[:, channel])
            below = [u for u in known if (goal[:, channel] <= u).mean() <= share]
            expected = below[-1] if below else known[0]
            assert set(after[before[:, channel] == level, channel]) == {expected}


def test_fecker_by_hand_on_greys():
    # Y of a grey g / 219 is 16 + g
    greys = np.array([10, 20, 20, 30]) / 219
    goals = np.array([100, 110, 120, 130]) / 219
    result = transfer_fecker(np.repeat(greys[:, None], 3, axis=1), np.repeat(goals[:, None], 3, axis=1))
    np.testing.assert_allclose(result[:, 0] * 219, [100, 120, 120, 130], atol=1e-3)


def test_pitie_gives_the_references_distribution(source, reference):
    assert distance(source, reference) > 10
    result = transfer_pitie(source, reference)
    assert distance(result, reference) < 0.5
    assert distance(transfer_xiao(source, reference), reference) > 2 * distance(result, reference)


def test_pitie_by_hand_takes_one_colour_to_the_middle():
    greys = np.repeat([[0.2], [0.4], [0.4], [0.7]], 3, axis=1)
    np.testing.assert_allclose(transfer_pitie(np.array([[0.9, 0.9, 0.9]]), greys), [[0.4, 0.4, 0.4]], atol=1e-9)


def test_pitie_turns_one_cluster_into_two(source):
    two = np.concatenate([cloud(3, 500, (0.3, 0.3, 0.6), 0.02), cloud(4, 1500, (0.7, 0.6, 0.3), 0.02)])
    result = transfer_pitie(source, two)
    bluish = result[:, 2] > result[:, 0]
    assert bluish.mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(result[bluish].mean(axis=0), (0.3, 0.3, 0.6), atol=0.02)


@EVERY
def test_identity(transfer, source):
    np.testing.assert_allclose(transfer(source, source), source, atol=1e-6)
    image = np.random.default_rng(0).integers(0, 256, (500, 3)) / 255  # all of the cube, black and white included
    image[:2] = [[0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(transfer(image, image), image, atol=1e-6)


@EVERY
def test_each_colour_moves_by_itself_and_arguments_stay(transfer, source, reference):
    copies = source.copy(), reference.copy()
    order = np.random.default_rng(0).permutation(len(source))
    result = transfer(source, reference)
    assert np.array_equal(transfer(source, reference), result)
    np.testing.assert_allclose(transfer(source[order], reference[::-1]), result[order], atol=1e-9)
    twice = transfer(np.concatenate([source, source]), reference)
    np.testing.assert_allclose(twice[: len(source)], twice[len(source) :], atol=1e-12)
    assert np.array_equal(source, copies[0])
    assert np.array_equal(reference, copies[1])


DEGENERATE = {
    "one pixel": np.array([[0.2, 0.5, 0.7]]),
    "one colour": np.tile([0.2, 0.5, 0.7], (50, 1)),
    "two colours": np.array([[0.2, 0.5, 0.7], [0.3, 0.4, 0.1]]),
    "grey": np.repeat(np.linspace(0, 1, 100)[:, None], 3, axis=1),
    "black": np.zeros((20, 3)),
    "white": np.ones((20, 3)),
    "pure red": np.tile([1.0, 0, 0], (20, 1)),
}


@EVERY
@pytest.mark.parametrize("first", DEGENERATE)
@pytest.mark.parametrize("second", DEGENERATE)
def test_degenerate_colours_give_colours(transfer, first, second):
    result = transfer(DEGENERATE[first], DEGENERATE[second])
    assert result.shape == DEGENERATE[first].shape
    assert ((result >= 0) & (result <= 1)).all()


@EVERY
def test_one_colour_takes_the_references_mean_colour(transfer):
    goal = np.array([[0.3, 0.6, 0.4]])
    result = transfer(DEGENERATE["one colour"], np.tile(goal, (7, 1)))
    np.testing.assert_allclose(result, np.tile(goal, (50, 1)), atol=1.5 / 255)


@pytest.mark.parametrize("transfer", [transfer_reinhard, transfer_xiao])
def test_rounding_noise_is_not_stretched(transfer, reference):
    # a grey whose channels differ by a hundredth of a level has no colour that could be made stronger
    noise = np.random.default_rng(0).uniform(-1e-5, 1e-5, (200, 3))
    assert transfer(0.5 + noise, reference).std(axis=0).max() < 1e-4


@EVERY
@pytest.mark.parametrize(
    "bad", [np.zeros((0, 3)), np.zeros((4, 4)), np.zeros((4, 4, 3)), np.full((4, 3), 255), np.full((4, 3), np.nan)]
)
def test_other_shapes_and_ranges_are_refused(transfer, bad, source):
    with pytest.raises(ValueError, match="source"):
        transfer(bad, source)
    with pytest.raises(ValueError, match="reference"):
        transfer(source, bad)
    with pytest.raises(ValueError, match="source"):
        transfer(-np.ones((4, 3)), source)


def step_image():
    """A grey ramp with a strong edge down its middle, and the region of all but its rim."""
    image = np.tile(np.linspace(0.3, 0.4, 24), (20, 1))
    image[:, 12:] += 0.3
    region = np.zeros(image.shape, dtype=bool)
    region[2:-2, 2:-2] = True
    return np.repeat(image[..., None], 3, axis=2), region


def test_regrain_keeps_the_images_gradients():
    image, region = step_image()
    np.testing.assert_allclose(regrain(image, image[region], region), image[region], atol=1e-6)
    brighter = image[region] + 0.1
    np.testing.assert_allclose(regrain(image, brighter, region), brighter, atol=2e-3)


def test_regrain_takes_noise_out_of_flat_parts():
    image, region = step_image()
    noise = np.random.default_rng(0).normal(0, 0.03, (int(region.sum()), 3))
    result = regrain(image, image[region] + 0.1 + noise, region)
    error = result - image[region] - 0.1
    assert error.std() < 0.4 * noise.std()
    assert abs(error.mean()) < 0.01


def test_regrain_minimizes_its_energy(monkeypatch):
    """The energy is summed literally, pixel by pixel: its derivative is zero in every direction, and it curves upwards."""
    monkeypatch.setattr(color_transfer, "_SOLVED", 1e-12)
    rng = np.random.default_rng(0)
    image = 0.4 + 0.2 * rng.uniform(0, 1, (7, 6, 3)) ** 8  # flat and steep places
    region = rng.random((7, 6)) < 0.7
    restyled = np.clip(image[region] + rng.normal(0, 0.05, (int(region.sum()), 3)), 0, 1)
    result = regrain(image, restyled, region)

    def energy(pixels):
        whole, wanted = np.zeros_like(image), np.zeros_like(image)
        whole[region], wanted[region] = pixels, restyled
        height, width = region.shape
        slope = np.zeros(region.shape)
        for y in range(height):
            for x in range(width):
                across = image[y, min(x + 1, width - 1)] - image[y, max(x - 1, 0)]
                down = image[min(y + 1, height - 1), x] - image[max(y - 1, 0), x]
                slope[y, x] = np.sqrt((across**2 + down**2).sum())
        phi, psi = 30 / (1 + 10 * slope), np.clip(255 * slope / 5, 1e-3, 1)
        total = 0.0
        for y, x in zip(*np.nonzero(region), strict=True):
            total += psi[y, x] * ((whole[y, x] - wanted[y, x]) ** 2).sum()
            for ny, nx in ((y + 1, x), (y, x + 1)):
                if ny < height and nx < width and region[ny, nx]:
                    gap = (whole[ny, nx] - whole[y, x]) - (image[ny, nx] - image[y, x])
                    total += (phi[y, x] + phi[ny, nx]) / 2 * (gap**2).sum()
        return total

    least = energy(result)
    assert least < energy(restyled)
    for _ in range(10):
        direction = rng.normal(0, 0.1, result.shape)
        up, down = energy(result + direction), energy(result - direction)  # exact for any step, the sum being quadratic
        assert up - down == pytest.approx(0, abs=1e-9 * (up + down))
        assert up + down > 2 * least


def test_regrain_of_a_flat_image_keeps_the_new_colour():
    image, region = np.full((8, 8, 3), 0.5), np.ones((8, 8), dtype=bool)
    for chosen in (region, np.arange(64).reshape(8, 8) == 5, ~region):  # all, one pixel, none
        restyled = np.tile([0.2, 0.6, 0.4], (int(chosen.sum()), 1))
        np.testing.assert_allclose(regrain(image, restyled, chosen), restyled, atol=1e-6)


def test_regrain_refuses_shapes_that_do_not_fit():
    image, region = step_image()
    with pytest.raises(ValueError, match="do not fit together"):
        regrain(image, np.zeros((3, 3)), region)
