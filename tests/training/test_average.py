"""The average of a network has statistics of its own, which fit its weights."""

import copy

import pytest
import torch

from frih.data.batches import Batch
from frih.models import FRIH
from frih.training import average
from frih.training.average import Average


@pytest.fixture
def network():
    torch.manual_seed(0)
    return FRIH(cascade=False, base_widths=(4, 4, 4, 4, 4, 4, 4), base_decoder_width=4)


def batch(value: float | None = None) -> Batch:
    composite = torch.rand(2, 3, 128, 128)
    if value is not None:
        composite[0, 0, 0, 0] = value
    mask = torch.zeros(2, 1, 128, 128)
    mask[:, :, 20:90, 30:80] = 1
    return Batch(composite, mask, mask[:, 0].to(torch.uint8), composite, [])


def statistics(network):
    return {name: value.clone() for name, value in network.named_buffers() if name.endswith(("_mean", "_var"))}


@pytest.mark.parametrize(("step", "momentum"), [(0, 1), (4, 0.2), (50, 0.03), (500, 0.03)])
def test_its_statistics_are_those_of_its_own_activations(network, step, momentum):
    made = Average(network, 0.9)
    with torch.no_grad():
        for weight in network.parameters():  # the network moves away; its average follows by a tenth
            weight.add_(torch.randn_like(weight))
    made.follow(network)
    literal = copy.deepcopy(network).train()
    literal.load_state_dict(made.network.state_dict())
    for module in literal.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = momentum
    for part in (parts := [batch(), batch()]):
        literal(part.composite, part.mask, part.labels)
    made.watch(step, parts)
    assert all(torch.equal(value, statistics(made.network)[name]) for name, value in statistics(literal).items())
    assert not made.network.training
    assert not any(weight.requires_grad for weight in made.network.parameters())


def test_it_watches_each_of_the_first_steps_and_later_every_tenth(network, monkeypatch):
    monkeypatch.setattr(average, "EACH", 3)
    made = Average(network, 0.9)
    seen = []
    for step in range(31):
        before = statistics(made.network)
        made.watch(step, [batch()])
        if any(not torch.equal(value, before[name]) for name, value in statistics(made.network).items()):
            seen.append(step)
    assert seen == [0, 1, 2, 10, 20, 30]


def test_a_batch_that_is_not_finite_leaves_its_statistics(network):
    made = Average(network, 0.9)
    before = statistics(made.network)
    made.watch(0, [batch(torch.nan)])
    after = statistics(made.network)
    assert all(value.isfinite().all() for value in after.values())
    first = next(iter(before))
    assert torch.equal(after[first], before[first])
