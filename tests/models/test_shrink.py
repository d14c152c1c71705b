"""Small changes are taken less, image by image."""

import pytest
import torch

from frih.common.errors import UserError
from frih.config.recipes import load_config
from frih.models import build_model
from frih.models.shrink import shrink_change
from tests.conftest import no_weight_is_zero


@pytest.mark.parametrize(
    ("levels", "expected"), [(0, 0), (3, 0), (4, 0), (6, 1.2 * 0.25 * 6), (-6, -1.8), (12, 14.4), (40, 48)]
)
def test_values_by_hand(levels, expected):
    composite, mask = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 1, 4, 4)
    mask[:, :, :2] = 1
    image = composite.clone()
    image[:, :, :2] += levels / 255
    found = shrink_change(image, composite, mask, (4, 12, 1.2))
    torch.testing.assert_close(found - composite, mask * torch.full((1, 3, 4, 4), expected / 255), rtol=1e-4, atol=1e-6)


def test_every_image_has_its_own_share_and_an_empty_mask_is_no_error():
    composite, mask = torch.rand(3, 3, 8, 8), torch.ones(3, 1, 8, 8)
    mask[2] = 0
    image = composite + torch.tensor([2, 20, 20]).view(3, 1, 1, 1) / 255
    found = shrink_change(image, composite, mask, (4, 12, 1))
    assert torch.equal(found[0], composite[0])
    torch.testing.assert_close(found[1], image[1])
    assert torch.equal(found[2], composite[2])


@pytest.mark.parametrize("cascade", [True, False])
def test_a_network_shrinks_its_final_image_outside_of_training(small_config, cascade):
    config = small_config(model={"cascade": cascade, "fusion": cascade})
    plain = no_weight_is_zero(build_model(config)).eval()
    shrinking = build_model(
        config.model_copy(update={"model": config.model.model_copy(update={"shrink": (0, 255, 1)})})
    )
    shrinking.load_state_dict(plain.state_dict())
    composite, mask = torch.rand(2, 3, 128, 128), torch.zeros(2, 1, 128, 128)
    mask[:, :, 30:90, 20:100] = 1
    batch = composite, mask, mask[:, 0].to(torch.uint8)
    with torch.no_grad():
        before, after = plain(*batch), shrinking.eval()(*batch)
        assert torch.equal(before.coarse, after.coarse)
        torch.testing.assert_close(after.refined, shrink_change(before.refined, composite, mask, (0, 255, 1)))
        assert not torch.equal(before.refined, after.refined)
        assert torch.equal(plain.train()(*batch).refined, shrinking.train()(*batch).refined)


@pytest.mark.parametrize("value", ["[8,8,1]", "[8,4,1]", "[-1,4,1]", "[0,4,3]", "[0,4]", "0.5"])
def test_values_that_are_no_ramp(value):
    with pytest.raises(UserError, match=r"model"):
        load_config(None, [f"model.shrink={value}"])


def test_half_precision_holds_the_sum_over_many_pixels():
    composite, mask = torch.zeros(1, 3, 256, 256, dtype=torch.float16), torch.ones(1, 1, 256, 256, dtype=torch.float16)
    image = composite + 8 / 255
    found = shrink_change(image, composite, mask, (4, 12, 1))
    torch.testing.assert_close(found, image / 2, rtol=1e-2, atol=1e-4)
