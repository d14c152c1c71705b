"""Running statistics measured anew are those of whole images."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import harmonize
from frih.models import build_model
from frih.models.checkpoint import load_model, save_checkpoint
from frih.tools.sharing.recalibrate import Draw, centre, recalibrate
from tests.conftest import no_weight_is_zero, run_here


@pytest.fixture
def model(small_config):
    return no_weight_is_zero(build_model(small_config(model={"cascade": False, "fusion": False})))


@pytest.fixture
def images(dataset):
    return CompositeDataset(read_split(dataset, "train").items, DataConfig(size=128), SubmaskConfig(method="whole"))


def test_the_means_over_whole_images(model, images):
    count = len(images) // 2 * 2
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    seen = []
    hook = first.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    weights = copy.deepcopy(dict(model.named_parameters()))
    assert recalibrate(model, Draw(images, count + 1, 2), torch.device("cpu")) == count
    hook.remove()
    assert len(seen) == count // 2
    torch.testing.assert_close(first.running_mean, torch.stack([one.mean(dim=(0, 2, 3)) for one in seen]).mean(dim=0))
    torch.testing.assert_close(first.running_var, torch.stack([one.var(dim=(0, 2, 3)) for one in seen]).mean(dim=0))
    assert first.momentum == 0.1
    assert not model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())


def test_too_few_images_change_nothing(model, images):
    before = copy.deepcopy(model.state_dict())
    assert recalibrate(model, Draw(images, 3, 4), torch.device("cpu")) == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def lacks(model, images) -> np.ndarray:
    found = []
    for i in range(len(images)):
        sample = images[i]
        refined = harmonize(model, pack([sample]), torch.device("cpu"))[1][0]
        found.append((sample.real.astype(float) - refined)[sample.mask].mean(axis=0))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("stages", [1, 2])
def test_a_constant_colour_is_taken_away_by_the_last_bias_alone(small_config, images, stages):
    cascade = {"cascade": stages == 2, "fusion": stages == 2}
    model = no_weight_is_zero(build_model(small_config(model=cascade)))
    for head in (model.head, model.base):
        if head:
            head.output.to_rgb.weight.data *= 0.01  # few values of the result need to be clamped
    recalibrate(model, Draw(images, 4, 2), torch.device("cpu"))
    before, lacked = copy.deepcopy(model.state_dict()), lacks(model, images)
    added = centre(model, Draw(images, batch=3), torch.device("cpu"))
    assert np.abs(lacked).min() > 0.1
    np.testing.assert_allclose(added, lacked, atol=1e-3)
    assert np.abs(lacks(model, images)).max() < 0.1 * np.abs(lacked).max()
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["head.output.to_rgb.bias" if stages == 2 else "base.output.to_rgb.bias"]


def test_what_has_no_bias_of_colours_is_not_centred(small_config, images):
    blending = build_model(small_config(model={"cascade": False, "fusion": False, "residual": False}))
    for model in (blending, nn.Identity()):
        with pytest.raises(ValueError, match="has no"):
            centre(model, Draw(images), torch.device("cpu"))


def test_the_command(small_config, dataset, tmp_path, capsys):
    config = small_config(data={"root": str(dataset), "workers": 0})
    run = tmp_path / "run/checkpoints/last.pt"
    save_checkpoint(run, config, no_weight_is_zero(build_model(config)), {})
    out = tmp_path / "new/weights.safetensors"
    assert run_here("scripts/recalibrate.py", run, "--out", out, "--images", 8, "--batch", 4) == 0
    assert "statistics of 4 images" in capsys.readouterr().out
    old, new = load_model(run)[0].state_dict(), load_model(out)[0].state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all("running" in name or "tracked" in name for name in changed)
    assert run_here("scripts/recalibrate.py", run, "--out", out, "--images", 8, "--batch", 4, "--centre") == 0
    assert "added, in levels: red " in capsys.readouterr().out
    new = load_model(out)[0].state_dict()
    assert {name for name in old if not torch.equal(old[name], new[name])} - changed == {"head.output.to_rgb.bias"}
    for wrong, message in (
        (("--out", tmp_path / "weights.pt"), "must end in .safetensors"),
        (("--out", out, "--batch", 0), "--batch: must be 1 or more"),
        (("--out", out, "--images", 0), "--images: must be 1 or more"),
        (("--out", out, "--images", 1), "--batch: 16 is more than the 1 images; give at most that"),
    ):
        assert run_here("scripts/recalibrate.py", run, *wrong) == 2
        assert message in capsys.readouterr().err
