import pytest
import torch

from frih import FRIH
from frih.models import build_model
from frih.models.frih import pairs
from tests.conftest import no_weight_is_zero, random_batch

SMALL = {"base_widths": [4] * 7, "base_decoder_width": 4, "cascade_widths": [4] * 7, "head_width": 4}
ABLATIONS = [
    {},
    {"fusion": False},
    {"residual": False},
    {"residual": "base"},
    {"residual": "cascade"},
    {"cascade": False, "fusion": False},
    {"end_to_end": False},
    {"norm": "none"},
]


def test_the_papers_model_has_11_98_million_parameters():
    model = FRIH()
    count = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.base, model, model.cascade, model.head)]
    assert count[:2] == [pytest.approx(9.30, abs=0.01), pytest.approx(11.98, abs=0.01)]
    assert (count[2] + count[3]) / count[1] == pytest.approx(0.224, abs=0.001)


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_image_is_what_it_is_alone_and_submask_by_submask(options):
    """The literal computation: one pair after another, combined by submask."""
    torch.manual_seed(0)
    model = FRIH(**SMALL, **options).double().eval()
    no_weight_is_zero(model)
    batch = random_batch(ks=(3, 1, 0), dtype=torch.float64)
    out = model(batch.composite, batch.mask, batch.labels)
    for b in range(3):
        composite, labels = batch.composite[b : b + 1], batch.labels[b : b + 1]
        coarse, features = model.base(composite, batch.mask[b : b + 1])
        torch.testing.assert_close(out.coarse[b : b + 1], coarse)
        refined = composite.clone()
        if model.cascade is None:
            refined = coarse
        else:
            for k in range(1, int(labels.max()) + 1):
                submask = (labels == k).double().unsqueeze(1)
                decoded = model.cascade(coarse, submask, torch.tensor([0]), features)
                predicted = model.head(decoded, coarse)
                refined = torch.where(submask.bool(), predicted, refined)
        torch.testing.assert_close(out.refined[b : b + 1], refined)


def test_the_background_stays_the_composites():
    model = FRIH(**SMALL)
    no_weight_is_zero(model)
    batch = random_batch()
    refined = model(batch.composite, batch.mask, batch.labels).refined
    outside = (batch.labels == 0).unsqueeze(1).expand_as(refined)
    assert torch.equal(refined[outside], batch.composite[outside])
    assert not torch.equal(refined[~outside], batch.composite[~outside])


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_a_batch_of_empty_masks_gives_every_parameter_a_gradient(options):
    model = FRIH(**SMALL, **options)
    batch = random_batch(ks=(0, 0))
    out = model(batch.composite, batch.mask, batch.labels)
    if model.cascade:
        assert torch.equal(out.refined, batch.composite)
    (out.coarse.sum() + out.refined.sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_end_to_end_decides_whether_the_refine_loss_reaches_the_base_network():
    batch = random_batch(ks=(2, 1))
    for end_to_end in (True, False):
        model = FRIH(**SMALL, end_to_end=end_to_end)
        no_weight_is_zero(model)
        model(batch.composite, batch.mask, batch.labels).refined.sum().backward()
        reached = [p.grad is not None and bool(p.grad.any()) for p in model.base.parameters()]
        assert any(reached) == end_to_end
        assert all(p.grad.any() for p in model.head.parameters())


def test_pairs_are_listed_image_by_image():
    labels = torch.tensor([[[0, 2], [1, 2]], [[0, 0], [0, 0]], [[255, 255], [255, 255]]], dtype=torch.uint8)
    owner, submasks = pairs(labels, torch.zeros(0))
    assert owner.tolist() == [0, 0, 2]
    assert submasks.int().tolist() == [[[[0, 0], [1, 0]]], [[[0, 1], [0, 1]]], [[[1, 1], [1, 1]]]]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_under_autocast_predictions_are_float32_and_near(precision):
    torch.manual_seed(0)
    model = FRIH(**SMALL).eval()
    batch = random_batch()
    exact = model(batch.composite, batch.mask, batch.labels)
    with torch.autocast("cpu", precision):
        out = model(batch.composite, batch.mask, batch.labels)
    assert out.coarse.dtype == out.refined.dtype == torch.float32
    torch.testing.assert_close(out.refined, exact.refined, atol=0.05, rtol=0.05)


def test_build_model_draws_weights_from_the_seed_and_leaves_the_global_state(small_config):
    state = torch.get_rng_state()
    first, same, other = (build_model(small_config(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [next(model.parameters()) for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("composite", "mask", "labels", "message"),
    [
        ((1, 3, 200, 200), (1, 1, 200, 200), (1, 200, 200), r"divisible by 128, not \(1, 3, 200, 200\)"),
        ((1, 4, 128, 128), (1, 1, 128, 128), (1, 128, 128), r"must be \(B, 3, H, W\)"),
        ((3, 128, 128), (1, 128, 128), (128, 128), r"must be \(B, 3, H, W\)"),
        (
            (2, 3, 128, 128),
            (1, 1, 128, 128),
            (2, 128, 128),
            r"must be \(2, 1, 128, 128\) and \(2, 128, 128\), not \(1,",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named(composite, mask, labels, message):
    with pytest.raises(ValueError, match=message):
        FRIH(**SMALL)(torch.zeros(composite), torch.zeros(mask), torch.zeros(labels, dtype=torch.uint8))
