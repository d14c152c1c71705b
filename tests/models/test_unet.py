import pytest
import torch
from torch import nn

from frih.models.frih import FRIH
from frih.models.norm import BatchNorm
from frih.models.output import ColorSpace, Output, initialize
from frih.models.unet import BaseNetwork

SMALL = {"widths": [3, 4, 5, 6, 7, 8, 9], "decoder_width": 4}


@pytest.fixture(scope="module")
def full() -> BaseNetwork:
    """The base network at the paper's widths."""
    return FRIH().base


def test_shapes_and_features(full):
    with torch.no_grad():
        coarse, features = full(torch.rand(2, 3, 256, 256), torch.ones(2, 1, 256, 256))
    assert coarse.shape == (2, 3, 256, 256)
    expected = [(2, c, 256 >> i, 256 >> i) for i, c in enumerate((48, 80, 96, 176, 192, 384, 400), start=1)]
    assert [tuple(feature.shape) for feature in features] == expected


def test_seven_convolutions_down_and_seven_deconvolutions_up_all_4x4(full):
    for layers, kind in ((full.encoder, nn.Conv2d), (full.decoder, nn.ConvTranspose2d)):
        convolutions = [layer[0] for layer in layers]
        assert [isinstance(c, kind) for c in convolutions] == [True] * 7
        assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {((4, 4), (2, 2), (1, 1))}


def test_normalisation_starts_at_the_third_encoder_layer(full):
    assert [any(isinstance(m, nn.BatchNorm2d) for m in layer) for layer in full.encoder] == [False] * 2 + [True] * 5
    assert all(any(isinstance(m, nn.BatchNorm2d) for m in layer) for layer in full.decoder)
    # a convolution before a normalisation has no bias, every other one has
    for layer in [*full.encoder, *full.decoder]:
        assert (layer[0].bias is None) == isinstance(layer[1], nn.BatchNorm2d)


def test_skips_are_added():
    """The literal forward pass, layer by layer."""
    network = BaseNetwork(**SMALL, residual=False).eval()
    composite, mask = torch.rand(1, 3, 128, 128), torch.rand(1, 1, 128, 128).round()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = torch.cat([(composite - mean) / std, mask], 1)
    encoded = []
    for layer in network.encoder:
        x = layer(x)
        encoded.append(x)
    for layer, skip in zip(network.decoder, encoded[-2::-1], strict=False):
        x = layer(x) + skip
    x = network.decoder[-1](x)
    a = torch.sigmoid(3 * network.output.attention(x))
    expected = a * composite + (1 - a) * (network.output.to_rgb(x) * std + mean)
    torch.testing.assert_close(network(composite, mask)[0], expected)


def test_blending_layer_by_hand():
    layer = Output(1, "blend")
    initialize(layer)
    nn.init.constant_(layer.attention.weight, 1.0)
    nn.init.zeros_(layer.to_rgb.weight)
    blended = layer(torch.tensor([[[[0.0, 100.0]]]]), torch.full((1, 3, 1, 2), 0.2))
    torch.testing.assert_close(blended[0, 0, 0], torch.tensor([(0.2 + 0.485) / 2, 0.2]))


def test_a_residual_network_begins_with_the_image_it_is_given():
    network = BaseNetwork(**SMALL)
    composite, mask = torch.rand(1, 3, 128, 128), torch.rand(1, 1, 128, 128).round()
    assert torch.equal(network.eval()(composite, mask)[0], composite)
    nn.init.constant_(network.output.to_rgb.bias, 0.5)
    change = (network(composite, mask)[0] - composite).mean(dim=(0, 2, 3))
    torch.testing.assert_close(change, 0.5 * torch.tensor([0.229, 0.224, 0.225]))


@pytest.mark.parametrize(
    ("residual", "kinds"),
    [(False, ("blend", "plain")), (True, ("add", "add")), ("base", ("add", "plain")), ("cascade", ("blend", "add"))],
)
def test_either_stage_may_predict_a_change(residual, kinds):
    with torch.device("meta"):
        model = FRIH(residual=residual)
    assert (model.base.output.kind, model.head.output.kind) == kinds


def test_the_gate_is_kept_while_training_and_only_then():
    layer = Output(2, "blend")
    features, image = torch.randn(1, 2, 4, 4), torch.rand(1, 3, 4, 4)
    layer.eval()(features, image)
    assert layer.gate is None
    blended = layer.train()(features, image)
    rgb = layer.color_space.denormalize(layer.to_rgb(features))
    torch.testing.assert_close(blended, layer.gate * image + (1 - layer.gate) * rgb)
    assert not layer.gate.requires_grad


def test_color_space_is_undone():
    image = torch.rand(2, 3, 4, 4)
    space = ColorSpace()
    torch.testing.assert_close(space.denormalize(space.normalize(image)), image)
    assert space.state_dict() == {}


def test_initial_weights_are_xavier_gaussian():
    convolution = nn.Conv2d(64, 64, 4)
    initialize(convolution)
    assert convolution.weight.std().item() == pytest.approx((2 / (2 * 64 * 16)) ** 0.5, rel=0.02)
    assert convolution.bias.abs().max() == 0


def test_batch_norm_of_one_value_and_of_none():
    norm = BatchNorm(2)
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    out = norm(torch.tensor([3.0, 3.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([2.0, 1.0]), atol=1e-4, rtol=0)
    assert norm(torch.zeros(0, 2, 1, 1)).shape == (0, 2, 1, 1)
    torch.testing.assert_close(norm.running_mean, torch.tensor([1.0, 2.0]))


def test_unknown_normalisation_is_refused():
    with pytest.raises(KeyError):
        FRIH(norm="layer")
