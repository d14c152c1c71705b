"""The sparse evaluation of the fusion head against the dense one, which is the paper's, literally."""

import os

import pytest
import torch

from frih import FRIH
from frih.losses import harmonization_loss
from frih.models.tiles import _touched, find, touched_by_scattering
from frih.models.upsampled import strips
from tests.conftest import no_weight_is_zero, random_batch

SMALL = {"base_widths": [4] * 7, "base_decoder_width": 4, "cascade_widths": [5, 6, 7, 8, 9, 10, 11], "head_width": 4}
ABLATIONS = [{}, {"fusion": False}, {"residual": False}, {"residual": "base"}, {"norm": "none"}]


def with_labels(labels: torch.Tensor):
    """A batch of random images with these labels, (N, H, W)."""
    batch = random_batch(ks=(0,) * len(labels), dtype=torch.float64)
    composite, real = (image.repeat(1, 1, 1, labels.shape[2] // 128) for image in (batch.composite, batch.real))
    mask = (labels > 0).double().unsqueeze(1)
    return batch._replace(composite=composite, real=real, mask=mask, labels=labels)


def batches():
    borders = torch.zeros(1, 128, 128, dtype=torch.uint8)
    # one pixel in corners and beside tiles, a stripe along each side
    borders[0, 0, 2:], borders[0, -1, 2:], borders[0, 2:-2, 0], borders[0, 2:-2, -1] = 1, 2, 3, 4
    borders[0, 0, 0], borders[0, -1, 0], borders[0, 15, 16], borders[0, 16, 15] = 5, 6, 7, 8
    borders[0, 40:57, 40:57] = 9
    borders[0, 100, 100] = 10
    full = torch.arange(128, dtype=torch.uint8).div(13, rounding_mode="floor").add(1).expand(1, 128, 128)
    wide = torch.zeros(2, 128, 256, dtype=torch.uint8)
    wide[0, 30:70, 100:140], wide[1, 120:, 250:] = 1, 1
    return {
        "mixed": random_batch(ks=(3, 1, 0), dtype=torch.float64),
        "borders": with_labels(borders),
        "ten submasks of full frame": with_labels(full),
        "one pixel": with_labels((borders == 10).byte()),
        "wide": with_labels(wide),
        "empty": random_batch(ks=(0, 0), dtype=torch.float64),
    }


def sparse_and_dense(options: dict) -> list[FRIH]:
    """Two networks of the same weights."""
    torch.manual_seed(0)
    sparse, dense = (FRIH(**SMALL, **options, dense=dense).double() for dense in (False, True))
    dense.load_state_dict(no_weight_is_zero(sparse).state_dict())
    return [sparse, dense]


def refined_and_gradient(model: FRIH, batch, dtype: torch.dtype = torch.float64):
    weight = torch.rand(batch.composite.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(
        dtype
    )
    model.zero_grad()
    refined = model(batch.composite.to(dtype), batch.mask.to(dtype), batch.labels).refined
    (refined * weight).sum().backward()
    return refined.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("name", batches())
@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_in_float64_outputs_and_gradients_are_the_dense_ones_to_1e_9(name, options):
    batch, models = batches()[name], sparse_and_dense(options)
    (found, gradients), (expected, literal) = (refined_and_gradient(model, batch) for model in models)
    assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()
    for name, gradient in gradients.items():
        assert gradient is not None
        assert (gradient - literal[name]).abs().max() <= 1e-9 * literal[name].abs().max(), name
    for (name, buffer), other in zip(models[0].named_buffers(), models[1].buffers(), strict=True):
        torch.testing.assert_close(buffer, other, rtol=1e-9, atol=1e-12, msg=name)  # running statistics
    models[1].load_state_dict(models[0].state_dict())  # they have moved
    with torch.no_grad():
        found, expected = (model.eval()(batch.composite, batch.mask, batch.labels) for model in models)
    assert torch.equal(found.coarse, expected.coarse)
    assert (found.refined - expected.refined).abs().max() <= 1e-9 * expected.refined.abs().max()


@pytest.mark.parametrize("name", ["mixed", "borders"])
def test_in_float32_they_differ_by_rounding(name):
    models = [model.float() for model in sparse_and_dense({})]
    (found, gradients), (expected, literal) = (
        refined_and_gradient(model, batches()[name], torch.float32) for model in models
    )
    assert (found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
    whole = torch.cat([gradient.flatten() for gradient in literal.values()]).norm()
    for key, gradient in gradients.items():
        assert (gradient - literal[key]).norm() <= 1e-4 * literal[key].norm() + 1e-6 * whole, key


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_in_lower_precisions_it_is_no_farther_from_the_truth_than_the_dense_one(precision):
    batch = batches()["mixed"]
    sparse, dense = sparse_and_dense({})
    exact, gradient = refined_and_gradient(dense, batch)
    errors = []
    for model in (sparse.float(), dense.float()):
        with torch.autocast("cpu", precision):
            found, gradients = refined_and_gradient(model, batch, torch.float32)
        distances = torch.cat([(gradients[name].double() - gradient[name]).flatten() for name in gradient])
        errors.append(((found.double() - exact).norm(), distances.norm()))
    assert all(ours <= 1.5 * theirs for ours, theirs in zip(*errors, strict=True))


def test_training_takes_the_same_course():
    """FRIH_STEPS=200 makes it a long one."""
    curves = []
    for model in sparse_and_dense({}):
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
    assert found.of_images(found.tiles).pair.tolist() == [0, 2, 2, 2, 2, 2]
    assert [len(part) for part in find(labels[1:2], torch.device("cpu")).tiles] == [0, 0, 0]


def test_tiles_are_found_by_bits_as_by_scattering():
    generator = torch.Generator().manual_seed(0)
    for most in (0, 1, 15, 16, 17, 32, 33, 255):
        labels = torch.randint(most + 1, (2, 48, 64), generator=generator, dtype=torch.uint8)
        labels[torch.rand(labels.shape, generator=generator) < 0.9] = 0
        expected = touched_by_scattering(labels)
        found = _touched(labels)[:, :255]
        assert torch.equal(found, expected[:, : found.shape[1]])
        assert not expected[:, found.shape[1] :].any()


def test_near_tiles_are_those_beside_touched_ones():
    labels = torch.zeros(1, 128, 128, dtype=torch.uint8)
    labels[0, 0, 0], labels[0, 64, 64] = 1, 2
    near = find(labels, torch.device("cpu")).near
    corner = [(0, row, column) for row in range(2) for column in range(2)]
    middle = [(1, row, column) for row in range(3, 6) for column in range(3, 6)]
    assert list(zip(*(part.tolist() for part in near), strict=True)) == corner + middle
    labels[0] = 3  # most tiles
    assert find(labels, torch.device("cpu")).near is None


def test_strips_depend_on_few_low_resolution_pixels():
    taps = [strips(256 >> i, 256, torch.float64, torch.device("cpu")).weight.shape[-1] for i in range(1, 7)]
    assert taps == [12, 6, 4, 3, 3, 3]  # of 20 pixels, at half ... 1/64 of the resolution
