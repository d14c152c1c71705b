import pytest
import torch
import torch.nn.functional as F

from frih.models import elu
from frih.models.elu import ELU


def layouts():
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 5, 6, 7)
    return {
        "contiguous": x,
        "channels last": x.to(memory_format=torch.channels_last),
        "with gaps": torch.randn(2, 5, 8, 9)[..., 1:-1, 1:-1],
        "extremes": torch.tensor(
            [0.0, -0.0, 1e-30, -1e-30, -1e-4, 88.0, -88.0, 1e30, -1e30, float("inf"), -float("inf")]
        ),
        "empty": torch.zeros(0, 3, 4, 4),
    }


@pytest.mark.parametrize("name", layouts())
def test_it_is_pytorchs_to_6e_8_and_in_place(name, monkeypatch):
    monkeypatch.setattr(elu, "_PIECE", 16)  # several pieces, the last not full
    x = layouts()[name]
    exact = F.elu(x.double())
    found = ELU()(x)
    assert found.data_ptr() == x.data_ptr()
    assert torch.equal(found, x)
    assert found.stride() == x.stride()
    torch.testing.assert_close(found.double(), exact, rtol=1e-7, atol=6e-8)


def test_no_number_stays_none():
    assert ELU()(torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, False]


def test_the_gradient_is_pytorchs():
    x = layouts()["channels last"]
    gradients = []
    for function in (ELU(), F.elu):
        leaf = x.clone().requires_grad_()
        function(leaf * 1.0).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
