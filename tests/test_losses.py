import pytest
import torch

from frih.losses import coarse_loss, harmonization_loss, refine_loss
from frih.models import Harmonized


def image(*pixels: tuple[float, float, float]) -> torch.Tensor:
    """(1, 3, 1, N)."""
    return torch.tensor(pixels).T.reshape(1, 3, 1, -1)


def test_coarse_loss_by_hand():
    """Equation 7: the whole image's squared error, RGB summed, over the mask's area."""
    guess, real = image((0.5, 0, 0), (0, 0, 0), (0.1, 0.2, 0.2)), image((0, 0, 0), (0, 0, 0), (0, 0, 0))
    mask = torch.tensor([[[[1.0, 1.0, 0.0]]]])
    assert coarse_loss(guess, real, mask, 1).tolist() == [pytest.approx((0.25 + 0.09) / 2)]


def test_refine_loss_by_hand():
    """Equation 8: each submask's squared error over its own area; nothing outside."""
    guess = image((0.5, 0, 0), (0.1, 0, 0), (0.2, 0, 0), (1, 1, 1))
    labels = torch.tensor([[[2, 1, 1, 0]]], dtype=torch.uint8)
    expected = 0.25 / 1 + (0.01 + 0.04) / 2
    assert refine_loss(guess, torch.zeros_like(guess), labels, 1).tolist() == [pytest.approx(expected)]


def test_where_pixels_count_alike_the_refine_loss_is_the_mean_over_the_mask():
    guess = image((0.5, 0, 0), (0.1, 0, 0), (0.2, 0, 0), (1, 1, 1))
    labels = torch.tensor([[[2, 1, 1, 0]], [[0, 0, 1, 0]], [[0, 0, 0, 0]]], dtype=torch.uint8)
    guess = guess.expand(3, -1, -1, -1)
    found = refine_loss(guess, torch.zeros_like(guess), labels, 1, "pixels").tolist()
    assert found == pytest.approx([(0.25 + 0.01 + 0.04) / 3, 0.04, 0])
    assert refine_loss(guess, torch.zeros_like(guess), labels, 30, "pixels")[0].item() == pytest.approx(0.3 / 30)


def test_the_refine_loss_has_its_weight_in_the_total():
    rng = torch.Generator().manual_seed(1)
    coarse, refined, real = (torch.rand(2, 3, 8, 8, generator=rng) for _ in range(3))
    labels = torch.randint(0, 3, (2, 8, 8), generator=rng).to(torch.uint8)
    given = Harmonized(coarse, refined), real, (labels > 0).float().unsqueeze(1), labels
    for weight in (1.0, 8.0):
        losses = harmonization_loss(*given, refine_weight=weight)
        assert torch.allclose(losses.total, losses.coarse + weight * losses.refine)
        assert torch.equal(losses.refine, harmonization_loss(*given).refine)


def test_areas_below_a_min_count_as_a_min():
    guess, labels = torch.full((1, 3, 10, 15), 0.1), torch.ones(1, 10, 15, dtype=torch.uint8)
    real, mask = torch.zeros_like(guess), torch.ones(1, 1, 10, 15)
    labels[0, 0, 0] = 2  # areas 149 and 1, of pixels whose squared error is 0.03
    assert refine_loss(guess, real, labels, 100).item() == pytest.approx(0.03 * (1 + 1 / 100))
    assert coarse_loss(guess, real, mask, 100).item() == pytest.approx(0.03)
    assert coarse_loss(guess, real, mask, 300).item() == pytest.approx(0.03 / 2)


def test_refine_loss_is_the_papers_sum_over_submasks():
    rng = torch.Generator().manual_seed(0)
    guess, real = (torch.rand(3, 3, 20, 20, generator=rng, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 11, (3, 20, 20), generator=rng).to(torch.uint8)
    expected = []
    for b in range(3):
        total = 0.0
        for i in range(1, 11):
            submask = labels[b] == i
            error = sum(((real - guess)[b, :, h, w] ** 2).sum() * submask[h, w] for h in range(20) for w in range(20))
            total += float(error) / max(int(submask.sum()), 100)
        expected.append(total)
    assert refine_loss(guess, real, labels, 100).tolist() == pytest.approx(expected)


def test_total_is_the_sum_of_both_and_coarse_alone_without_a_cascade():
    guess, real = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    mask, labels = torch.ones(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.uint8)
    both = harmonization_loss(Harmonized(guess, guess), real, mask, labels)
    torch.testing.assert_close(both.total, both.coarse + both.refine)
    assert (both.refine > 0).all()
    alone = harmonization_loss(Harmonized(guess, guess), real, mask, labels, refine=False)
    assert torch.equal(alone.total, both.coarse)


def test_an_empty_mask_has_a_coarse_loss_and_no_refine_loss():
    guess, real = torch.full((1, 3, 4, 4), 0.1, requires_grad=True), torch.zeros(1, 3, 4, 4)
    losses = harmonization_loss(
        Harmonized(guess, guess), real, torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    )
    assert losses.coarse.item() == pytest.approx(16 * 0.03 / 100)
    assert losses.refine.item() == 0
    losses.total.sum().backward()
    assert guess.grad.isfinite().all()
