"""Convolutions as products of matrices, against PyTorch's own."""

import pytest
import torch
from torch import nn

from frih.models import scaling
from frih.models.scaling import Down, Up

FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("kind", "shape"), [(Down, (2, 5, 8, 4)), (Down, (1, 5, 2, 2)), (Up, (2, 5, 4, 2)), (Up, (0, 5, 2, 2))]
)
def test_few_pixels_take_a_product_with_the_same_result(kind, shape, bias, layout, monkeypatch):
    torch.manual_seed(0)
    layer = kind(5, 7, bias=bias).to(memory_format=layout)
    x = torch.randn(shape).to(memory_format=layout)
    expected = nn.Module.__call__(layer, x)  # a gradient is wanted, so PyTorch's own
    assert expected.grad_fn is not None or not x.numel()
    with torch.no_grad():
        monkeypatch.setattr(scaling, "_FEW", 0)
        literal = layer(x)
        monkeypatch.undo()
        product = layer(x)
    torch.testing.assert_close(literal, expected.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(product, expected.detach(), rtol=1e-5, atol=1e-6)
