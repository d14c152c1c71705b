import io
import math
import os
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from frih.common.errors import UserError
from frih.config import EvaluationConfig
from frih.data.iharmony4 import read_split
from frih.data.images import read_mask, read_rgb
from frih.metrics import FOREGROUND, METRICS, PAPER, PROTOCOLS, Target, score
from frih.metrics import scoring as metrics
from tests.conftest import ellipse, smooth_image

DATA = os.environ.get("FRIH_TEST_DATA")


def flat(value: float, shape=(2, 2, 3)) -> np.ndarray:
    return np.full(shape, value)


# by hand: a real image of 100 with one 200, and a mask of one whole and one half pixel


@pytest.fixture
def by_hand():
    real, image = flat(100.0), flat(100.0)
    real[1, 1, 2] = 200
    image[0, 0] = (110.6, 100, 80.6)  # the foreground: errors 112.36, 0, 376.36
    image[0, 1] = (100, 103, 100)  # the background: 9
    image[1, 1] = (100, 104, 200)  # the grey border, 0.5: 16
    return image, real, np.array([[1.0, 0.0], [0.0, 0.5]])


def db(peak: float, mse: float) -> float:
    return 10 * math.log10(peak**2 / mse)


def test_idih_by_hand(by_hand):
    mse = (112.36 + 376.36 + 9 + 16) / 12
    expected = {"mse": mse, "psnr": db(200, mse + 1e-6), "fmse": (488.72 + 16 * 0.5) / (3 * 1.5)}
    assert score(*by_hand, "idih") == pytest.approx(expected, rel=1e-12)


def test_frih_by_hand(by_hand):
    mse = (112.36 + 376.36 + 9 + 16) / 12
    expected = {"mse": mse, "psnr": db(255, mse + 1e-6), "fmse": (488.72 + 16) / (3 * 2)}
    assert score(*by_hand, "frih") == pytest.approx(expected, rel=1e-12)


def test_dovenet_by_hand(by_hand):
    mse = (100 + 400 + 9 + 16) / 12  # 110.6 becomes 110 and 80.6 becomes 80
    expected = {"mse": mse, "psnr": db(200 - 80, mse), "fmse": (500 + 16) / (3 * 2)}
    assert score(*by_hand, "dovenet") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("protocol", "peak"), [("pctnet", 255), ("dccf", 200)])
def test_pctnet_and_dccf_by_hand(by_hand, protocol, peak):
    mse = (488.72 + 16 * 0.5) / 12
    expected = {"mse": mse, "psnr": db(peak, mse + 1e-6), "fmse": (488.72 + 16 * 0.5) / (3 * 1.5)}
    assert score(*by_hand, protocol) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("protocol", "errors"), [("rainnet", 100 + 400), ("diffharmony", 121 + 361)])
def test_rainnet_and_diffharmony_by_hand(by_hand, protocol, errors):
    mse = (errors + 16) / 12  # the 9 of the background is gone; 110.6 becomes 110, or 111
    expected = {"mse": mse, "psnr": db(255, mse), "fmse": (errors + 16) / (3 * 2)}
    assert score(*by_hand, protocol) == pytest.approx(expected, rel=1e-12)


def test_ht_by_hand():
    """Flat greys go through JPEG as they are, once truncated."""
    expected = {"mse": 36, "psnr": db(255, 36), "fmse": 36}
    assert score(flat(106.9, (16, 16, 3)), flat(100.0, (16, 16, 3)), np.ones((16, 16)), "ht") == pytest.approx(expected)


# against what the field's table says, pixel after pixel


def literally(image, real, mask, protocol) -> dict[str, float]:
    """MSE, PSNR and fMSE from the table of evaluators, in loops over pixels that NumPy does, in float64."""
    image, real, mask = (np.array(one, dtype=np.float64) for one in (image, real, mask))
    hard = np.floor(mask + 0.5)
    if protocol in ("rainnet", "diffharmony"):
        image = image * hard[:, :, None] + real * (1 - hard[:, :, None])
    if protocol in ("dovenet", "rainnet"):
        image = np.floor(image)
    if protocol == "diffharmony":
        image = np.array(Image.fromarray(np.rint(image).astype(np.uint8)), dtype=np.float64)
    if protocol == "ht":
        image, real = saved_as_jpeg(image), saved_as_jpeg(real)
    height, width, _ = image.shape
    squares = (image - real) ** 2
    if protocol in ("idih", "pctnet", "dccf"):
        fmse = sum((squares[:, :, c] * mask).sum() for c in range(3)) / (3 * mask.sum())
    else:  # mse(out*m, real*m) * pixels / area
        masked = [(image[:, :, c] * hard - real[:, :, c] * hard) ** 2 for c in range(3)]
        fmse = np.stack(masked).mean() * (height * width) / hard.sum()
    mse = squares.mean()
    if protocol in ("pctnet", "dccf"):
        mse = (squares * mask[:, :, None]).sum() / (height * width * 3)
    peak = {"dovenet": image.max() - image.min(), "idih": real.max(), "dccf": real.max()}.get(protocol, 255.0)
    epsilon = 1e-6 if protocol in ("idih", "pctnet", "dccf", "frih") else 0.0
    return {"mse": mse, "psnr": 20 * np.log10(peak) - 10 * np.log10(mse + epsilon), "fmse": fmse}


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
def test_protocols_equal_a_literal_computation(protocol):
    for image, real, mask in made_images(100):
        assert score(image, real, mask, protocol) == pytest.approx(literally(image, real, mask, protocol), rel=1e-6)


@pytest.mark.skipif(not DATA, reason="FRIH_TEST_DATA names no dataset")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_equal_a_literal_computation_on_real_images(protocol):
    images = list(benchmark_images(100))
    assert len(images) == 100
    for image, real, mask in images:
        assert score(image, real, mask, protocol) == pytest.approx(literally(image, real, mask, protocol), rel=1e-6)


# rules


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_identical_images_have_a_finite_psnr(protocol):
    real = smooth_image(seed=0, width=32, height=24)
    low, high = int(real.min()), int(real.max())
    peak = {"idih": high, "dccf": high, "dovenet": high - low}.get(protocol, 255)
    scores = score(real, real, np.ones((24, 32)), protocol, ["fpsnr", "ssim"])
    assert (scores["mse"], scores["fmse"]) == (0, 0)
    assert scores["psnr"] == scores["fpsnr"] == pytest.approx(db(peak, 1e-6))
    assert scores["ssim"] == pytest.approx(1)
    assert "1e-06" in PROTOCOLS[protocol].identical


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_empty_mask_has_no_scores_of_the_foreground(protocol):
    real = smooth_image(seed=0, width=32, height=24)
    scores = score(real[::-1], real, np.zeros((24, 32)), protocol, [name for name in METRICS if name != "lpips"])
    assert {name for name, value in scores.items() if math.isnan(value)} == set(FOREGROUND)
    assert all(math.isfinite(value) for name, value in scores.items() if name not in FOREGROUND)


def test_a_black_or_flat_image_has_no_peak():
    for protocol in PROTOCOLS:
        assert math.isfinite(score(flat(0.0), flat(0.0), np.ones((2, 2)), protocol)["psnr"])


def test_values_are_clamped_but_not_rounded():
    assert score(flat(300.0), flat(255.0), np.ones((2, 2)))["mse"] == 0
    assert score(flat(99.5), flat(100.0), np.ones((2, 2)))["mse"] == 0.25


def test_large_images_go_in_bands(monkeypatch):
    image, real, mask = next(made_images(1))
    names = ("fpsnr", "ssim", "fssim", "ciede2000")
    whole = score(image, real, mask, "idih", names)
    for pixels in (1, 3 * image.shape[1]):  # rows one by one, and by three
        monkeypatch.setattr(metrics, "BAND", pixels)
        monkeypatch.setattr(metrics, "SMALL_BAND", pixels)
        assert score(image, real, mask, "idih", names) == pytest.approx(whole, rel=1e-12)


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


def test_one_target_scores_many_images():
    image, real, mask = next(made_images(1))
    target = Target(real, mask, "ht", ["ssim"])
    for one in (image, real, image[::-1]):
        assert target.score(one) == score(one, real, mask, "ht", ["ssim"])


def test_scores_come_in_the_order_of_the_registry():
    scores = score(flat(1.0, (8, 8, 3)), flat(2.0, (8, 8, 3)), np.ones((8, 8)), metrics=["ciede2000", "ssim", "fpsnr"])
    assert list(scores) == ["mse", "psnr", "fmse", "fpsnr", "ssim", "ciede2000"]
    assert list(score(flat(1.0), flat(2.0), np.ones((2, 2)), metrics=())) == list(PAPER)


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


# input that is wrong, and what is written of it all


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 2), (2, 2, 4)])
def test_shapes_must_agree(shape):
    with pytest.raises(ValueError, match="shapes differ"):
        score(flat(0.0, shape), flat(0.0), np.ones((2, 2)))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        score(flat(math.nan), flat(0.0), np.ones((2, 2)))


def test_protocols_are_filed_under_their_names():
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_the_configuration_knows_every_protocol_and_metric():
    fields = EvaluationConfig.model_fields
    assert list(get_args(fields["protocol"].annotation)) == list(PROTOCOLS)
    assert list(get_args(get_args(fields["metrics"].annotation)[0])) == list(METRICS)
    assert all(metric.label.endswith("↓" if metric.better == "lower" else "↑") for metric in METRICS.values())
