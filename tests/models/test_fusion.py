import torch
import torch.nn.functional as F
from torch import nn

from frih.models.fusion import FusionHead, upsample


def test_forward_is_two_3x3_and_one_1x1_over_everything_upsampled():
    torch.manual_seed(0)
    head = FusionHead([3, 2], width=4, residual=False)
    low, full = torch.rand(2, 3, 4, 4), torch.rand(2, 2, 8, 8)
    assert [(m.kernel_size, m.in_channels, m.out_channels) for m in head.modules() if isinstance(m, nn.Conv2d)] == [
        ((3, 3), 5, 4),
        ((3, 3), 4, 4),
        ((1, 1), 4, 3),
    ]
    x = torch.cat([F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False), full], 1)
    x = F.elu(F.conv2d(x, head.conv1.weight, head.conv1.bias, padding=1))
    x = F.elu(F.conv2d(x, head.conv2.weight, head.conv2.bias, padding=1))
    rgb = F.conv2d(x, head.output.to_rgb.weight, head.output.to_rgb.bias)
    expected = head.output.color_space.denormalize(rgb)
    torch.testing.assert_close(head([low, full], torch.zeros(2, 3, 8, 8)), expected)


def test_a_pixel_depends_on_features_within_two_pixels_only():
    head = FusionHead([2], width=4, residual=False)
    features = torch.rand(1, 2, 12, 12)
    changed = features.clone()
    changed[..., 6, 6] += 1
    moved = (head([changed], changed) - head([features], features)).abs().sum(1)[0] > 0
    assert moved[4:9, 4:9].any()
    moved[4:9, 4:9] = False
    assert not moved.any()


def test_upsampling_by_hand():
    row = upsample(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
    torch.testing.assert_close(row.flatten(), torch.tensor([0.0, 1.0, 3.0, 4.0]))
