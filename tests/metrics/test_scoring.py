import io
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from frih.common.errors import UserError
from frih.config.recipes import load_config
from frih.data.iharmony4 import read_split
from frih.data.images import read_mask, read_rgb
from frih.metrics import METRICS, PAPER, PROTOCOLS, Target, score, scoring
from tests.conftest import ellipse, smooth_image

DATA = os.environ.get("FRIH_TEST_DATA")
ALL = [name for name in METRICS if name != "lpips"]


def flat(value: float, shape=(2, 2, 3)) -> np.ndarray:
    return np.full(shape, value)


def db(peak: float, mse: float) -> float:
    return 10 * math.log10(peak**2 / mse)


# squared errors: 112.36 and 376.36 in the foreground (100 and 400 truncated, 121 and 361 rounded), 9 in the background, and 16
# in the grey border, whose mask is 0.5
BY_HAND = {
    "idih": {"squares": 112.36 + 376.36 + 9 + 16, "peak": 200, "epsilon": 1e-6, "fmse": (488.72 + 16 / 2) / (3 * 1.5)},
    "frih": {"squares": 112.36 + 376.36 + 9 + 16, "peak": 255, "epsilon": 1e-6, "fmse": (488.72 + 16) / (3 * 2)},
    "dovenet": {"squares": 100 + 400 + 9 + 16, "peak": 200 - 80, "epsilon": 0, "fmse": (500 + 16) / (3 * 2)},
    "pctnet": {"squares": 488.72 + 16 / 2, "peak": 255, "epsilon": 1e-6, "fmse": (488.72 + 16 / 2) / (3 * 1.5)},
    "dccf": {"squares": 488.72 + 16 / 2, "peak": 200, "epsilon": 1e-6, "fmse": (488.72 + 16 / 2) / (3 * 1.5)},
    "rainnet": {"squares": 100 + 400 + 16, "peak": 255, "epsilon": 0, "fmse": (500 + 16) / (3 * 2)},
    "diffharmony": {"squares": 121 + 361 + 16, "peak": 255, "epsilon": 0, "fmse": (482 + 16) / (3 * 2)},
}


@pytest.mark.parametrize("protocol", BY_HAND)
def test_protocols_by_hand(protocol):
    real, image, mask = flat(100.0), flat(100.0), np.array([[1.0, 0.0], [0.0, 0.5]])
    real[1, 1, 2] = 200
    image[0, 0] = (110.6, 100, 80.6)
    image[0, 1] = (100, 103, 100)
    image[1, 1] = (100, 104, 200)
    by_hand = BY_HAND[protocol]
    mse = by_hand["squares"] / 12
    expected = {"mse": mse, "psnr": db(by_hand["peak"], mse + by_hand["epsilon"]), "fmse": by_hand["fmse"]}
    assert score(image, real, mask, protocol) == pytest.approx(expected, rel=1e-12)


def test_ht_by_hand():
    """JPEG does not change flat greys once they are truncated."""
    expected = {"mse": 36, "psnr": db(255, 36), "fmse": 36}
    assert score(flat(106.9, (16, 16, 3)), flat(100.0, (16, 16, 3)), np.ones((16, 16)), "ht") == pytest.approx(expected)


def literally(image, real, mask, protocol) -> dict[str, float]:
    """MSE, PSNR and fMSE step by step from the entry of a protocol, in float64."""
    rule = PROTOCOLS[protocol]
    image, real, mask = (np.array(one, dtype=np.float64) for one in (image, real, mask))
    if rule.mask == "binary":
        mask = np.floor(mask + 0.5)
    if rule.background == "real":
        image = image * mask[:, :, None] + real * (1 - mask[:, :, None])
    if rule.rounding == "truncate":
        image = np.floor(image)
    elif rule.rounding == "round":
        image = np.array(Image.fromarray(np.rint(image).astype(np.uint8)), dtype=np.float64)
    elif rule.rounding == "jpeg":
        image, real = saved_as_jpeg(image), saved_as_jpeg(real)
    squares = (image - real) ** 2
    fmse = sum((squares[:, :, c] * mask).sum() for c in range(3)) / (3 * mask.sum())
    mse = (squares * mask[:, :, None]).mean() if rule.region == "masked" else squares.mean()
    peak = {"255": 255.0, "real": real.max(), "range": image.max() - image.min()}[rule.peak]
    return {"mse": mse, "psnr": 20 * np.log10(peak) - 10 * np.log10(mse + rule.epsilon), "fmse": fmse}


def saved_as_jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(np.floor(image).astype(np.uint8)).save(file, format="jpeg", quality=100)
    return np.array(Image.open(file), dtype=np.float64)


def made_images(count: int):
    """Harmonized images with fractions, real ones, masks with grey borders, of all sizes."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        width, height = rng.integers(20, 90, 2)
        real = smooth_image(seed=seed, width=int(width), height=int(height))
        image = np.clip(real * rng.uniform(0.7, 1.3, 3) + rng.normal(0, 3, real.shape), 0, 255)
        yield image.astype(np.float32), real, ellipse(int(width), int(height), grow=1 + seed % 4) / 255


def benchmark_images(count: int):
    """Composites of a real dataset, evenly spaced, as if they were harmonized."""
    items = read_split(DATA, "test").items
    for item in items[:: max(1, len(items) // count)][:count]:
        composite, real, mask = read_rgb(item.composite), read_rgb(item.real), read_mask(item.mask)
        yield composite + np.float32(0.4) * (composite < 200), real, mask / 255


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "images",
    [
        made_images,
        pytest.param(benchmark_images, marks=pytest.mark.skipif(not DATA, reason="FRIH_TEST_DATA names no dataset")),
    ],
)
def test_protocols_equal_a_literal_computation(protocol, images):
    for image, real, mask in images(100):
        assert score(image, real, mask, protocol) == pytest.approx(literally(image, real, mask, protocol), rel=1e-6)


def test_the_configuration_accepts_every_protocol_and_metric_and_no_other():
    for protocol in PROTOCOLS:
        config = load_config(None, [f"evaluation.protocol={protocol}", f"evaluation.metrics=[{','.join(METRICS)}]"])
        assert (config.evaluation.protocol, config.evaluation.metrics) == (protocol, tuple(METRICS))
    with pytest.raises(UserError, match=r"evaluation\.protocol: .*, not \"idhi\"; did you mean 'idih'\?"):
        load_config(None, ["evaluation.protocol=idhi"])
    with pytest.raises(UserError, match=r"evaluation\.metrics\.1: .*'lpips', not \"sim\"; did you mean 'ssim'\?"):
        load_config(None, ["evaluation.metrics=[mse,sim]"])


# rules


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identical_images_have_a_finite_psnr(protocol):
    real = smooth_image(seed=0, width=32, height=24)
    low, high = int(real.min()), int(real.max())
    rule = PROTOCOLS[protocol]
    peak = {"255": 255, "real": high, "range": high - low}[rule.peak]
    scores = score(real, real, np.ones((24, 32)), protocol, ["fpsnr", "ssim"])
    assert (scores["mse"], scores["fmse"]) == (0, 0)
    assert scores["psnr"] == scores["fpsnr"] == pytest.approx(db(peak, max(rule.epsilon, 1e-6)))
    assert scores["ssim"] == pytest.approx(1)
    assert math.isfinite(score(flat(0.0), flat(0.0), np.ones((2, 2)), protocol)["psnr"])  # black: no peak


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_empty_mask_has_no_scores_of_the_foreground(protocol):
    real = smooth_image(seed=0, width=32, height=24)
    scores = score(real[::-1], real, np.zeros((24, 32)), protocol, ALL)
    assert {name for name, value in scores.items() if math.isnan(value)} == {"fmse", "fpsnr", "fssim", "ciede2000"}
    assert all(math.isfinite(scores[name]) for name in ("mse", "psnr", "ssim"))


def test_values_are_clamped_but_not_rounded():
    assert score(flat(300.0), flat(255.0), np.ones((2, 2)))["mse"] == 0
    assert score(flat(99.5), flat(100.0), np.ones((2, 2)))["mse"] == 0.25


def test_large_images_are_taken_in_bands(monkeypatch):
    image, real, mask = next(made_images(1))
    whole = score(image, real, mask, "idih", ALL)
    for pixels in (1, 3 * image.shape[1]):  # rows one by one, and by three
        monkeypatch.setattr(scoring, "BAND", pixels)
        monkeypatch.setattr(scoring, "SMALL_BAND", pixels)
        assert score(image, real, mask, "idih", ALL) == pytest.approx(whole, rel=1e-12)


def test_one_target_scores_many_images():
    image, real, mask = next(made_images(1))
    target = Target(real, mask, "ht", ["ssim"])
    for one in (image, real, image[::-1]):
        assert target.score(one) == score(one, real, mask, "ht", ["ssim"])


def test_scores_come_in_the_order_of_the_registry():
    scores = score(flat(1.0, (8, 8, 3)), flat(2.0, (8, 8, 3)), np.ones((8, 8)), metrics=["ciede2000", "ssim", "fpsnr"])
    assert list(scores) == ["mse", "psnr", "fmse", "fpsnr", "ssim", "ciede2000"]
    assert list(score(flat(1.0), flat(2.0), np.ones((2, 2)), metrics=())) == list(PAPER)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 2), (2, 2, 4)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match="shapes differ"):
        score(flat(0.0, shape), flat(0.0), np.ones((2, 2)))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        score(flat(math.nan), flat(0.0), np.ones((2, 2)))


# other metrics


def test_similarity_is_that_of_scikit_image():
    for image, real, mask in made_images(5):
        expected, full = structural_similarity(
            real.astype(float), image.astype(float), channel_axis=-1, data_range=255, full=True
        )
        scores = score(image, real, mask, "idih", ["ssim", "fssim"])
        assert scores["ssim"] == pytest.approx(expected, rel=1e-12)
        assert scores["fssim"] == pytest.approx((full * mask[..., None]).sum() / (3 * mask.sum()), rel=1e-12)


def test_similarity_needs_a_whole_window():
    with pytest.raises(ValueError, match="at least 7 x 7"):
        score(flat(1.0, (6, 20, 3)), flat(2.0, (6, 20, 3)), np.ones((6, 20)), metrics=["ssim"])


def test_color_difference_is_that_of_scikit_image():
    image, real, mask = next(made_images(1))
    inside = deltaE_ciede2000(rgb2lab(image.astype(float) / 255), rgb2lab(real.astype(float) / 255))
    found = score(image, real, mask, "idih", ["ciede2000"])["ciede2000"]
    assert found == pytest.approx((inside * mask).sum() / mask.sum(), rel=1e-10)
    # white and black are a lightness of 100 apart, and CIEDE2000 weighs that by 1.0
    black_on_white = score(flat(0.0), flat(255.0), np.ones((2, 2)), metrics=["ciede2000"])["ciede2000"]
    assert black_on_white == pytest.approx(100, abs=0.01)


def test_other_metrics_look_at_the_images_of_the_protocol():
    image, real, mask = next(made_images(1))
    pasted = np.where(mask[..., None] >= 0.5, np.floor(image), real)
    names = ["ssim", "ciede2000"]
    of_protocol = score(image, real, mask, "rainnet", names)
    by_hand = score(pasted, real, (mask >= 0.5).astype(float), "idih", names)
    assert {name: of_protocol[name] for name in names} == pytest.approx(
        {name: by_hand[name] for name in names}, rel=1e-9
    )


# LPIPS, with an AlexNet of random weights


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A file of weights as torchvision publishes them."""
    pytest.importorskip("lpips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision.models import alexnet

        torch.manual_seed(0)
        network = alexnet(weights=None)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_lpips_by_its_definition(alexnet):
    path, network = alexnet
    import lpips as package

    image, real = (smooth_image(seed=seed, width=72, height=64).astype(np.float32) for seed in (1, 2))
    found = score(image, real, np.ones((64, 72)), "idih", ["lpips"], str(path))["lpips"]
    linear = torch.load(Path(package.__file__).parent / "weights/v0.1/alex.pth", map_location="cpu", weights_only=True)
    shift, scale = (torch.tensor(three).view(1, 3, 1, 1) for three in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, y = ((torch.from_numpy(one).permute(2, 0, 1)[None] / 127.5 - 1 - shift) / scale for one in (image, real))
    expected, layer = 0.0, 0
    with torch.no_grad():
        for number, module in enumerate(network.features):
            module = module if not isinstance(module, torch.nn.ReLU) else torch.nn.ReLU()
            x, y = module(x), module(y)
            if number in (1, 4, 7, 9, 11):  # after each ReLU
                units = [one / (one.square().sum(1, keepdim=True).sqrt() + 1e-10) for one in (x, y)]
                weighted = (units[0] - units[1]).square() * linear[f"lin{layer}.model.1.weight"]
                expected += float(weighted.sum(1).mean())
                layer += 1
    assert layer == 5
    assert found == pytest.approx(expected, rel=1e-4)
    assert score(real, real, np.ones((64, 72)), "idih", ["lpips"], str(path))["lpips"] == 0


def test_lpips_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        UserError, match=r"alexnet-owt-7be5be79\.pth: no such file; get AlexNet's weights from https://"
    ):
        score(flat(1.0), flat(1.0), np.ones((2, 2)), metrics=["lpips"])
    pytest.importorskip("lpips")
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"other\.pth: does not hold AlexNet's weights"):
        score(flat(1.0), flat(1.0), np.ones((2, 2)), metrics=["lpips"], lpips=str(tmp_path / "other.pth"))
