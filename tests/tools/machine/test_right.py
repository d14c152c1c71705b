"""Right results pass, and wrong ones of each kind do not."""

import multiprocessing

import pytest
import torch

from frih.losses import harmonization_loss
from frih.tools.machine import right, together
from frih.tools.machine.right import allowed, exact_batch, exactness, outcome, reference, relative
from frih.tools.machine.setting import PRECISIONS, Precision, trained_like


def statuses(setting, network="FRIH"):
    return [row["status"] for row in exactness(setting, network)]


def test_right_results_are_right(setting):
    assert statuses(setting, "base network") == ["right", "right"]
    assert statuses(setting, "FRIH, dense") == ["right"]


def test_lower_precision_has_a_larger_error_within_its_own_bound(make_setting):
    rows = list(exactness(make_setting(precisions=("fp32", "bf16", "tf32")), "FRIH"))
    exact, _, half, _, none = rows
    assert [row["status"] for row in rows] == ["right"] * 4 + ["skipped"]
    for kind in half["errors"]:
        assert exact["allowed"][kind] < half["errors"][kind] < half["allowed"][kind]
    assert none["why"] == "only GPUs have it"


def test_half_precision_that_passes_for_float32_is_found(setting, monkeypatch):
    monkeypatch.setitem(PRECISIONS, "fp32", Precision("bf16", False, 2.0**-24))
    assert statuses(setting) == ["wrong", "wrong"]


def test_a_weight_that_is_off_by_a_thousandth_is_found(setting, monkeypatch):
    def off(config):
        network = trained_like(config)
        with torch.no_grad():
            network.head.conv2.weight.mul_(1.001)
        return network

    reference(setting, "FRIH")
    monkeypatch.setattr(right, "trained_like", off)
    assert statuses(setting) == ["wrong", "wrong"]


def test_the_batch_has_images_without_foreground_and_with(setting):
    labels = exact_batch(setting).labels
    assert len(labels) == 8
    assert not labels[-1].any()
    assert labels[0].any()
    assert len(exact_batch(setting, least=9, multiple=4).labels) == 12


def test_an_outcome_is_that_of_the_plain_calls(setting):
    config = setting.recipe()
    network, batch = trained_like(config), exact_batch(setting)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = outcome(network, batch, config)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.zero_grad()
    out = network.train()(batch.composite, batch.mask, batch.labels)
    harmonization_loss(out, batch.real, batch.mask, batch.labels).total.mean().backward()
    assert torch.equal(found.training, torch.stack(list(out)).double())
    assert torch.equal(found.gradient, torch.cat([p.grad.flatten() for p in network.parameters()]).double())


def test_errors_are_relative_to_the_change():
    given, exact = torch.full((4,), 10.0), torch.full((4,), 11.0)
    assert relative(exact + 0.5, exact, given) == 0.5
    assert relative(exact + 1.1, exact) == pytest.approx(0.1)


def test_allowed_errors_by_hand():
    bounds = allowed("bf16", 2**16, widest=400)
    assert bounds["training"] == 8 * 2**-8 + 4 * 2**-24 * 2**8
    assert bounds["gradient"] == 32 * 2**-8 + 8 * 2**-24 * 2**8
    assert bounds["inference"] == 8 * 2**-8 + 4 * 2**-24 * 80
    assert allowed("fp32", 2**16)["gradient"] < allowed("tf32", 2**16)["gradient"] == allowed("fp16", 2**16)["gradient"]


def test_two_processes_normalise_as_one_does(setting):
    row = together.compare(setting, "gloo", 2, "two")
    assert row["status"] == "right", row
    assert set(row["errors"]) == {"images", "gradient", "statistics"}


def test_processes_that_do_not_share_statistics_are_found(setting, monkeypatch):
    """Two processes, each of which normalises by itself."""

    def apart(config, batch, size, backend, folder):
        network = trained_like(config)
        parts = [together.step(network, part, config) for part in batch.parts(2)]
        images, gradients, statistics = zip(*parts, strict=True)
        return torch.cat(images, dim=1), sum(gradients) / 2, statistics[1]

    monkeypatch.setattr(together, "in_processes", apart)
    row = together.compare(setting, "gloo", 2, "two")
    assert row["status"] == "wrong"
    assert row["errors"]["images"] > row["allowed"]["images"]


def test_a_process_that_fails_is_told_with_its_words(setting):
    before = multiprocessing.active_children()  # loader processes of earlier tests may not have ended yet
    with pytest.raises(RuntimeError, match=r"process 0: .*backend"):
        together.compare(setting, "no-such-backend", 1, "one")
    assert not [process for process in multiprocessing.active_children() if process not in before]


def test_a_gpu_without_nccl_is_skipped(setting, monkeypatch):
    monkeypatch.setattr(setting.device, "is_gpu", True)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    (row,) = together.check(setting)
    assert row["status"] == "skipped"
    assert "no NCCL" in row["why"]
