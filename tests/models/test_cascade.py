import pytest
import torch
from torch import nn

from frih.models.cascade import Cascade
from frih.models.frih import FRIH, PAPER


def small(norm="batch"):
    return Cascade(base_widths=[2] * 7, widths=[3, 4, 5, 6, 7, 8, 9], norm=norm)


def inputs(*owner: int):
    """Two coarse images, and submasks of the images given."""
    features = [torch.rand(2, 2, 128 >> i, 128 >> i) for i in range(1, 8)]
    submasks = torch.rand(len(owner), 1, 128, 128).round()
    return torch.rand(2, 3, 128, 128), submasks, torch.tensor(owner, dtype=torch.long), features


def test_layers_are_those_of_equations_3_to_5():
    cascade = FRIH().cascade
    assert len(cascade.encoder) == len(cascade.transfers) == len(cascade.fuses) == len(cascade.decoder) == 7
    for base, own, transfer in zip(PAPER.base_widths, (16, 32, 32, 80, 80, 96, 128), cascade.transfers, strict=True):
        first, second = [m for m in transfer if isinstance(m, nn.Conv2d)]
        assert (first.kernel_size, second.kernel_size) == ((3, 3), (3, 3))
        assert (first.in_channels, second.out_channels) == (base, own)
    assert all(fuse[0].kernel_size == (1, 1) for fuse in cascade.fuses)
    layers = [*cascade.encoder, *cascade.decoder]
    assert all(layer[0].kernel_size == (4, 4) and isinstance(layer[1], nn.BatchNorm2d) for layer in layers)
    others = [*cascade.transfers.modules(), *cascade.fuses.modules()]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in others)


def test_forward_is_the_equations_pair_by_pair():
    torch.manual_seed(0)
    cascade = small().eval()
    coarse, submasks, owner, features = inputs(0, 0, 1)
    decoded = cascade(coarse, submasks, owner, features)
    assert [d.shape[1] for d in decoded] == list(cascade.decoder_widths) == [8, 7, 6, 5, 4, 3, 3]
    for pair, image in enumerate(owner.tolist()):
        x = torch.cat([cascade.color_space.normalize(coarse[image : image + 1]), submasks[pair : pair + 1]], 1)
        ec = []
        for layer in cascade.encoder:
            x = layer(x)
            ec.append(x)
        dc = []
        for step, i in enumerate((6, 5, 4, 3, 2, 1, 0)):
            et = cascade.transfers[i](features[i][image : image + 1])
            dc = [cascade.decoder[i](cascade.fuses[i](torch.cat([*dc, et, ec[i]], 1)))]
            torch.testing.assert_close(decoded[step][pair : pair + 1], dc[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_no_pair_at_all(norm):
    cascade = small(norm)
    decoded = cascade(*inputs())
    assert [d.shape[0] for d in decoded] == [0] * 7
    sum(d.sum() for d in decoded).backward()
    assert all(p.grad is not None and not p.grad.any() for p in cascade.parameters())


def test_one_pair_of_the_smallest_image_trains():
    assert small()(*inputs(1))[-1].isfinite().all()
