import pytest
import torch

from frih import FRIH
from frih.models import build_model
from frih.models.frih import pairs
from tests.conftest import SMALL as SECTIONS
from tests.conftest import no_weight_is_zero, random_batch

SMALL = SECTIONS["model"]
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
    with torch.device("meta"):
        model = FRIH()
    base, whole, cascade, head = (
        sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.base, model, model.cascade, model.head)
    )
    assert (base, whole, cascade + head) == pytest.approx((9.30, 11.98, 2.68), abs=0.01)


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_image_is_what_it_is_alone_and_submask_by_submask(options):
    """The literal computation: one pair after another, combined by submask."""
    torch.manual_seed(0)
    model = no_weight_is_zero(FRIH(**SMALL, **options).double().eval())
    batch = random_batch(ks=(3, 1, 0), dtype=torch.float64)
    out = model(batch.composite, batch.mask, batch.labels)
    for b in range(3):
        composite, labels = batch.composite[b : b + 1], batch.labels[b : b + 1]
        coarse, features = model.base(composite, batch.mask[b : b + 1])
        torch.testing.assert_close(out.coarse[b : b + 1], coarse)
        refined = composite.clone() if model.cascade else coarse
        for k in range(1, int(labels.max()) + 1 if model.cascade else 0):
            submask = (labels == k).double().unsqueeze(1)
            decoded = model.cascade(coarse, submask, torch.tensor([0]), features)
            predicted = model.head(decoded, coarse)
            refined = torch.where(submask.bool(), predicted, refined)
        torch.testing.assert_close(out.refined[b : b + 1], refined)


def test_the_background_stays_the_composites():
    model = no_weight_is_zero(FRIH(**SMALL))
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


@pytest.mark.parametrize("end_to_end", [True, False])
def test_end_to_end_decides_whether_the_refine_loss_reaches_the_base_network(end_to_end):
    model = no_weight_is_zero(FRIH(**SMALL, end_to_end=end_to_end))
    batch = random_batch(ks=(2, 1))
    model(batch.composite, batch.mask, batch.labels).refined.sum().backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.base.parameters()) == end_to_end
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
    first, same, other = (next(build_model(small_config(seed=seed)).parameters()) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("composite", "labels", "message"),
    [
        ((1, 3, 200, 200), (1, 200, 200), r"divisible by 128, not \(1, 3, 200, 200\)"),
        ((1, 4, 128, 128), (1, 128, 128), r"must be \(B, 3, H, W\)"),
        ((3, 128, 128), (128, 128), r"must be \(B, 3, H, W\)"),
        ((2, 3, 128, 128), (2, 128, 128), r"must be \(2, 1, 128, 128\) and \(2, 128, 128\), not \(1,"),
    ],
)
def test_shapes_that_do_not_fit_are_named(composite, labels, message):
    mask = torch.zeros(1, 1, *composite[-2:])
    with pytest.raises(ValueError, match=message):
        FRIH(**SMALL)(torch.zeros(composite), mask, torch.zeros(labels, dtype=torch.uint8))
