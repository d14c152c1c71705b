"""What a second stage makes of its submasks, against the literal way to find out."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from frih.common.errors import UserError
from frih.config import DataConfig, SubmaskConfig
from frih.data.batches import Sample, pack
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import Item, read_split
from frih.evaluation import Evaluation
from frih.losses import refine_loss
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.experiments.submask_use import (
    OWN,
    by_place,
    channels,
    division,
    evaluate_divisions,
    shuffled,
)
from tests.conftest import no_weight_is_zero, run_here, save

CPU = torch.device("cpu")
DATA = DataConfig(size=128, workers=0)
FOUR = SubmaskConfig(method="kmeans", clusters=4)


@pytest.fixture
def sample():
    labels = np.zeros((20, 30), np.uint8)
    labels[2:18, 3:27] = np.random.default_rng(0).choice([1, 1, 1, 2, 4], (16, 24))
    image = np.zeros((20, 30, 3), np.uint8)
    return Sample(
        image, image, 255 * (labels > 0).astype(np.uint8), labels, Item("root", "A", "a_1_1.jpg", "a_1.png", "a.jpg")
    )


@pytest.fixture
def images(dataset):
    return CompositeDataset(read_split(dataset, "train").items, DATA, FOUR)


@pytest.fixture
def model(small_config):
    return no_weight_is_zero(build_model(small_config())).eval()


def scores(rows, name):
    return [row.scores[name] for row in rows]


@pytest.mark.parametrize("divide", [shuffled, by_place])
def test_random_submasks_have_the_sizes_of_the_own_ones(sample, divide):
    before = sample.labels.copy()
    found = divide(sample, np.random.default_rng(1))
    assert np.bincount(found.ravel()).tolist() == np.bincount(before.ravel()).tolist()
    assert np.array_equal(found > 0, before > 0)
    assert (found != before).any()
    assert np.array_equal(sample.labels, before)
    assert (divide(sample, np.random.default_rng(2)) != found).any()


def test_strips_lie_beside_each_other(sample):
    found = by_place(sample, np.random.default_rng(1))
    angle = np.random.default_rng(1).uniform(0, 2 * np.pi)
    along = np.argwhere(found > 0) @ (np.sin(angle), np.cos(angle))
    numbers = found[found > 0]
    reach = sorted((along[numbers == k].min(), along[numbers == k].max()) for k in np.unique(numbers))
    assert all(high <= low for (_, high), (low, _) in pairwise(reach))


def test_other_submasks_give_what_an_evaluation_with_them_gives(model, images):
    rows = evaluate_divisions(model, images, ["whole", "kmeans:2"], CPU, batch=3)
    two = SubmaskConfig(method="kmeans", clusters=2)
    for name, method in ((OWN, FOUR), ("whole", SubmaskConfig(method="whole")), ("kmeans:2", two)):
        known = Evaluation(CompositeDataset(images.items, DATA, method)).of_model(model)["idih"]
        assert scores(rows, f"fmse:{name}") == pytest.approx(scores(known, "fmse"), rel=1e-4)
        assert scores(rows, f"number:{name}") == [row.submasks for row in known]
        assert scores(rows, "fmse:coarse") == pytest.approx(scores(known, "coarse_fmse"), rel=1e-4)
        assert scores(rows, "fmse:input") == pytest.approx(scores(known, "input_fmse"), rel=1e-4)
    assert all(row.scores[f"moved:{OWN}"] == 0 < row.scores["moved:whole"] for row in rows)
    assert all(row.scores["second"] == pytest.approx(row.scores["moved:coarse"]) for row in rows)


def test_blind_to_submasks_is_a_first_layer_that_does_not_read_them(model, images):
    found = evaluate_divisions(model, images, ["blind:0"], CPU)
    with torch.no_grad():
        next(iter(model.cascade.encoder[0].parameters()))[:, 3] = 0
    known = evaluate_divisions(model, images, [], CPU)
    assert scores(found, "fmse:blind:0") == pytest.approx(scores(known, f"fmse:{OWN}"), rel=1e-5)
    assert scores(found, f"fmse:{OWN}") != pytest.approx(scores(known, f"fmse:{OWN}"), rel=1e-5)


def test_random_submasks_do_not_depend_on_the_batch(model, images):
    one, three = (evaluate_divisions(model, images, ["shuffled"], CPU, batch=size) for size in (1, 3))
    assert scores(one, "moved:shuffled") == pytest.approx(scores(three, "moved:shuffled"), rel=1e-4)


def test_channels_have_the_gradients_of_the_loss(model, images):
    batch = pack([images[index] for index in range(3)]).unpack(CPU)
    found = channels(model, iter([batch]), min_area=100, equal="pixels")
    weight = next(iter(model.cascade.encoder[0].parameters()))
    model.zero_grad()
    out = model(batch.composite, batch.mask, batch.labels)
    refine_loss(out.refined, batch.real, batch.labels, 100, "pixels").mean().backward()
    assert [one.gradient for one in found.values()] == pytest.approx(
        weight.grad.square().sum(dim=(0, 2, 3)).sqrt().tolist(), rel=1e-4
    )
    assert [one.weight for one in found.values()] == pytest.approx(
        weight.detach().square().sum(dim=(0, 2, 3)).sqrt().tolist()
    )
    assert all(one.influence > 0 for one in found.values())
    with torch.no_grad():
        weight[:, 3] = 0
    blind = channels(model, iter([batch]), min_area=100, equal="pixels")
    assert blind["submask"].influence == 0 < blind["submask"].gradient
    assert blind["red"].influence > 0


@pytest.mark.parametrize("name", ["kmean:8", "blind", "strip"])
def test_refuses_other_divisions(name):
    with pytest.raises(UserError, match=r"--divisions: .* begins with none of whole, .*, given, blind:0"):
        division(name)


def run(*words):
    return run_here("scripts/submask_use.py", *words)


def test_program(capsys, dataset, small_config, tmp_path):
    config = small_config(data={"root": str(dataset)})
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, no_weight_is_zero(build_model(config)), {"step": 7})
    for item in read_split(dataset, "test").items:
        item.given.parent.mkdir(exist_ok=True)
        save(item.given, np.full((140, 160), 1, np.uint8))
    out = tmp_path / "out"
    assert run(tmp_path / "run", "--divisions", "whole", "given", "data.workers=0", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "own submasks" in printed
    assert "gradient of the weights" in printed
    found = json.loads((out / "submask_use.json").read_text())
    assert found["differences"]["whole"] == found["differences"]["given"]  # each file is one submask
    assert list(found["channels"]) == ["red", "green", "blue", "submask"]
    assert {path.name for path in out.iterdir()} == {"rows.csv", "submask_use.json", "submask_use.md"}


def test_program_wants_a_second_stage(capsys, small_config, tmp_path):
    config = small_config(model={"cascade": False, "fusion": False})
    save_checkpoint(tmp_path / "base.pt", config, build_model(config), {})
    assert run(tmp_path / "base.pt") == 2
    assert "has no second stage" in capsys.readouterr().err
