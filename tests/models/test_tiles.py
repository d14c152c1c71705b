"""The sparse evaluation of the fusion head against the dense one, which is the paper's, literally."""

import copy
import os

import pytest
import torch
import torch.nn.functional as F

from frih import FRIH
from frih.losses import harmonization_loss
from frih.models.fusion import upsample
from frih.models.tiles import TILE, Tiles, add_tiles, convolve_upsampled, find, inside, strips, windows
from tests.conftest import no_weight_is_zero, random_batch

SMALL = {"base_widths": [4] * 7, "base_decoder_width": 4, "cascade_widths": [5, 6, 7, 8, 9, 10, 11], "head_width": 4}
ABLATIONS = [{}, {"fusion": False}, {"residual": False}, {"residual": "base"}, {"norm": "none"}]


def every_tile(pairs: int, height: int, width: int) -> Tiles:
    return find(torch.ones(pairs, height, width, dtype=torch.uint8), torch.device("cpu")).tiles


def test_pairs_and_tiles_are_those_that_hold_a_pixel():
    labels = torch.zeros(3, 64, 64, dtype=torch.uint8)
    labels[0, 15, 16] = 200  # the last row of the first tile row, the first column of the second
    labels[2, :, 63] = 3
    labels[2, 0, 0] = 1
    found = find(labels, torch.device("cpu"))
    assert list(zip(found.owner.tolist(), found.label.tolist(), strict=True)) == [(0, 200), (2, 1), (2, 3)]
    assert list(zip(*(part.tolist() for part in found.tiles), strict=True)) == [
        (0, 0, 1),
        (1, 0, 0),
        *((2, i, 3) for i in range(4)),
    ]
    assert found.tiles_of_images.pair.tolist() == [0, 2, 2, 2, 2, 2]
    assert [len(part) for part in find(labels[1:2], torch.device("cpu")).tiles] == [0, 0, 0]


@pytest.mark.parametrize("halo", [0, 1, 2])
def test_windows_are_cut_from_the_zero_padded_image(halo):
    features = torch.rand(2, 3, 32, 48)
    tiles = every_tile(2, 32, 48)
    padded = F.pad(features, (halo,) * 4)
    found = windows(features, tiles, halo)
    assert found.shape == (2 * 2 * 3, 3, TILE + 2 * halo, TILE + 2 * halo)
    for window, pair, row, column in zip(found, *tiles, strict=True):
        y, x = row * TILE, column * TILE
        expected = padded[pair, :, y : y + TILE + 2 * halo, x : x + TILE + 2 * halo]
        assert torch.equal(window, expected)
    assert torch.equal(inside(tiles, halo, (32, 48)), windows(torch.ones(2, 1, 32, 48), tiles, halo).bool())


def test_windows_at_half_the_resolution():
    full = torch.rand(1, 2, 32, 64)
    half = full[..., ::2, ::2]
    tiles = every_tile(1, 32, 64)
    found = windows(half, tiles, halo=1, tile=TILE // 2)
    assert torch.equal(found[..., 1:-1, 1:-1], windows(full, tiles, halo=0)[..., ::2, ::2])


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 16, 32, 64])
def test_convolving_what_is_upsampled(factor):
    size, generator = 128, torch.Generator().manual_seed(factor)
    features = torch.rand(2, 3, size // factor, size // factor, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 3, 3, 3, generator=generator, dtype=torch.float64)
    tiles = every_tile(2, size, size)
    literal = F.conv2d(upsample(features, (size, size)), weight, padding=1)
    found = convolve_upsampled(features, weight, tiles, (size, size))
    valid = inside(tiles, 1, (size, size))
    torch.testing.assert_close(found * valid, windows(literal, tiles, 1), rtol=0, atol=1e-12)


def test_strips_depend_on_few_low_resolution_pixels():
    taps = [strips(256 >> i, 256, torch.float64, torch.device("cpu")).weight.shape[-1] for i in range(1, 7)]
    assert taps == [12, 6, 4, 3, 3, 3]  # of 20 pixels, at half ... 1/64 of the resolution


def test_tiles_are_added_where_they_were_cut():
    image = torch.rand(2, 3, 32, 48)
    tiles = every_tile(2, 32, 32)._replace(pair=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    doubled = add_tiles(image, windows(image, tiles, 0), tiles)
    assert torch.equal(doubled[..., :32], 2 * image[..., :32])
    assert torch.equal(doubled[..., 32:], image[..., 32:])


def submasks_at_every_border(size: int = 128) -> torch.Tensor:
    """One-pixel submasks in corners and at tile borders, a stripe along each side, and a tile's worth in the middle."""
    labels = torch.zeros(size, size, dtype=torch.uint8)
    labels[0, 2:], labels[-1, 2:], labels[2:-2, 0], labels[2:-2, -1] = 1, 2, 3, 4
    labels[0, 0], labels[-1, 0], labels[15, 16], labels[16, 15] = 5, 6, 7, 8
    labels[40:57, 40:57] = 9
    labels[100, 100] = 10
    return labels


def batches():
    normal = random_batch(ks=(3, 1, 0), dtype=torch.float64)
    border = random_batch(ks=(0,), dtype=torch.float64)
    labels = submasks_at_every_border()[None]
    full = torch.arange(128, dtype=torch.uint8).div(13, rounding_mode="floor").add(1).expand(1, 128, 128)
    return {
        "mixed": normal,
        "borders": border._replace(labels=labels, mask=(labels > 0).double().unsqueeze(1)),
        "ten submasks of full frame": border._replace(labels=full, mask=torch.ones_like(border.mask)),
        "one pixel": random_batch(ks=(1,), dtype=torch.float64)._replace(
            labels=(submasks_at_every_border() == 10).byte()[None]
        ),
        "empty": random_batch(ks=(0, 0), dtype=torch.float64),
    }


def both(options: dict, batch, dtype: torch.dtype = torch.float64):
    """Refined images and gradients, sparse and dense, from the same weights."""
    results = []
    torch.manual_seed(0)
    sparse = FRIH(**SMALL, **options).to(dtype)
    no_weight_is_zero(sparse)
    dense = FRIH(**SMALL, **options, dense=True).to(dtype)
    dense.load_state_dict(sparse.state_dict())
    weight = torch.rand(batch.composite.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(
        dtype
    )
    for model in (sparse, dense):
        out = model(batch.composite.to(dtype), batch.mask.to(dtype), batch.labels)
        (out.refined * weight).sum().backward()
        results.append((out.refined.detach(), {name: p.grad for name, p in model.named_parameters()}))
    return results


@pytest.mark.parametrize("name", batches())
@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_in_float64_outputs_and_gradients_are_the_dense_ones_to_1e_9(name, options):
    (found, gradients), (expected, literal) = both(options, batches()[name])
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    for name, gradient in gradients.items():
        assert gradient is not None
        assert (gradient - literal[name]).abs().max() <= 1e-9 * literal[name].abs().max(), name


@pytest.mark.parametrize("name", batches())
@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_in_evaluation_outputs_are_the_dense_ones_to_1e_9(name, options):
    batch = batches()[name]
    torch.manual_seed(0)
    sparse, dense = (FRIH(**SMALL, **options, dense=dense).double() for dense in (False, True))
    no_weight_is_zero(sparse)
    sparse(batch.composite, batch.mask, batch.labels)  # moves the running statistics
    dense.load_state_dict(sparse.state_dict())
    with torch.no_grad():
        found, expected = (model.eval()(batch.composite, batch.mask, batch.labels) for model in (sparse, dense))
    assert torch.equal(found.coarse, expected.coarse)
    assert (found.refined - expected.refined).abs().max() <= 1e-9 * expected.refined.abs().max()


@pytest.mark.parametrize("name", ["mixed", "borders"])
def test_in_float32_they_differ_by_rounding(name):
    (found, gradients), (expected, literal) = both({}, batches()[name], torch.float32)
    assert (found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
    whole = torch.cat([gradient.flatten() for gradient in literal.values()]).norm()
    for key, gradient in gradients.items():
        assert (gradient - literal[key]).norm() <= 1e-4 * literal[key].norm() + 1e-6 * whole, key


def test_training_takes_the_same_course():
    """FRIH_STEPS=200 makes it a long one."""
    curves = []
    for dense in (False, True):
        torch.manual_seed(0)
        model = FRIH(**SMALL, dense=dense).double()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        curve = []
        for step in range(int(os.environ.get("FRIH_STEPS", "10"))):
            batch = random_batch(ks=(step % 4, 1), seed=step, dtype=torch.float64)
            out = model(batch.composite, batch.mask, batch.labels)
            loss = harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        curves.append(curve)
    assert curves[0] == pytest.approx(curves[1], rel=1e-7)
    assert curves[0][-1] < curves[0][0]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_lower_precisions_it_is_no_farther_from_the_truth_than_the_dense_one(precision):
    batch = batches()["mixed"]
    torch.manual_seed(0)
    truth = FRIH(**SMALL, dense=True).double().eval()
    exact = truth(batch.composite, batch.mask, batch.labels).refined
    errors = []
    for dense in (False, True):
        model = FRIH(**SMALL, dense=dense).eval()
        model.load_state_dict(truth.float().state_dict())
        with torch.no_grad(), torch.autocast("cpu", precision):
            out = model(batch.composite.float(), batch.mask.float(), batch.labels)
        errors.append((out.refined.double() - exact).square().mean().sqrt().item())
    assert errors[0] <= 1.5 * errors[1]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_gradients_in_lower_precisions_are_no_farther_from_the_truth_either(precision):
    batch = batches()["mixed"]
    torch.manual_seed(0)
    truth = FRIH(**SMALL, dense=True).double()
    weights = copy.deepcopy(truth).float().state_dict()

    def gradient(model, composite, mask, autocast):
        with torch.autocast("cpu", precision, enabled=autocast):
            out = model(composite, mask, batch.labels)
        (out.refined.to(composite) - composite.flip(0)).square().sum(dim=1).mean().backward()
        return torch.cat([parameter.grad.flatten().double() for parameter in model.parameters()])

    exact = gradient(truth, batch.composite, batch.mask, False)
    errors = []
    for dense in (False, True):
        model = FRIH(**SMALL, dense=dense)
        model.load_state_dict(weights)
        found = gradient(model, batch.composite.float(), batch.mask.float(), True)
        errors.append(((found - exact).norm() / exact.norm()).item())
    assert errors[0] <= 1.5 * errors[1]
