import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frih.common.errors import UserError
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import Evaluation
from frih.metrics import Scoring
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.submasks import extract_submasks
from frih.tools.experiments.oracle import (
    AS_IS,
    PAPER,
    Oracle,
    affine,
    left,
    parse_method,
    remaining,
    shift,
    sizes,
)
from tests.conftest import no_weight_is_zero, run_here

PARTS = {"whole": np.ones(120, np.uint8), "two": np.repeat(np.array([1, 2], np.uint8), [80, 40])}


def colors(seed=0):
    real = np.random.default_rng(seed).uniform(0, 255, (120, 3))
    return real.copy(), real


def test_a_shift_of_each_part():
    x, y = colors()
    x[:80] -= 10
    x[80:] -= [10, 40, 10]
    found = remaining(x, y, PARTS, shift)
    assert found[AS_IS] == pytest.approx((100 * 8 + 1600) / 9)
    # green: 10 on two thirds, 40 on one; their mean is 20
    assert found["whole"] == pytest.approx((100 * 2 / 3 + 400 / 3) / 3)
    assert found["two"] == pytest.approx(0)
    by_map = remaining(x, y, PARTS, affine)
    assert by_map["two"] == pytest.approx(0)
    assert 0 < by_map["whole"] < found["whole"]


def test_an_affine_map():
    x, _ = colors()
    y = x @ [[0.5, 0.1, 0], [0, 0.8, 0.2], [0.3, 0, 1]] + [5, -7, 0]
    assert remaining(x, y, PARTS, affine)["whole"] == pytest.approx(0)
    assert remaining(x, y, PARTS, shift)["whole"] > 100


def test_each_kind_is_the_better_the_more_it_can():
    x, y = colors()
    x += np.random.default_rng(1).normal(0, 20, x.shape)
    by_shift, by_map = (remaining(x, y, PARTS, correct) for correct in (shift, affine))
    assert by_shift[AS_IS] >= by_shift["whole"] >= by_shift["two"] >= by_map["two"]
    assert by_shift["whole"] >= by_map["whole"] >= by_map["two"]


def test_few_pixels_are_shifted_only():
    x, y = colors()
    np.testing.assert_array_equal(affine(x[:5], y[:5]), shift(x[:5], y[:5]))


def test_no_foreground_has_no_figures():
    none = np.zeros((0, 3))
    found = remaining(none, none, {"whole": np.zeros(0, np.uint8)}, shift)
    assert np.isnan([*found.values()]).all()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("whole", {"method": "whole"}),
        ("cfsfdp", {}),
        ("cfsfdp:0.02", {"cutoff": 0.02}),
        ("gamma:4", {"method": "gamma", "candidates": 4}),
        ("kmeans:3", {"method": "kmeans", "clusters": 3}),
    ],
)
def test_methods_in_short(text, settings):
    assert parse_method(text) == SubmaskConfig(**settings)
    assert parse_method(PAPER) == SubmaskConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kmens:3", "begins with none of whole, cfsfdp, gamma, kmeans, random; did you mean 'kmeans'"),
        ("whole:2", "takes no number"),
        ("kmeans:", "'' is not a number for submasks.clusters"),
        ("gamma:2.5", "'2.5' is not a number for submasks.candidates"),
        ("kmeans:0", "submasks.clusters: input should be greater than or equal to 1"),
        ("cfsfdp:nan", "submasks.cutoff: input should be"),
    ],
)
def test_methods_that_are_none(text, message):
    with pytest.raises(UserError, match=message):
        parse_method(text)


def make_oracle(dataset, **methods):
    items = read_split(str(dataset), "train").items
    images = CompositeDataset(items, DataConfig(size=128), SubmaskConfig(method="whole"))
    return Oracle(images, methods={PAPER: SubmaskConfig(), **methods})


def test_as_it_is_is_the_fmse_of_the_evaluation(dataset):
    oracle = make_oracle(dataset, whole=SubmaskConfig(method="whole"))
    ((_, rows),) = oracle.of_input().items()
    known = Evaluation(oracle.images, Scoring(("dovenet",))).of_input()["dovenet"]  # its masks are not grey either
    for found, expected in zip(rows, known, strict=True):
        assert found.name == expected.name
        assert found.scores[AS_IS] == pytest.approx(expected.scores["fmse"])
        assert found.scores[AS_IS] > found.scores["whole"] > found.scores[PAPER]
    table = left(rows, "", ["whole"])
    assert table["All"]["images"] == 10 == table["A"]["images"] + table["B"]["images"]
    assert table["All"]["whole"] == pytest.approx(np.mean([one.scores["whole"] for one in rows]))
    assert sizes(rows, ["whole"])["whole"] == {"submasks (mean)": 1, "largest (median)": 1, "three largest (mean)": 1}
    assert 0 < table["All"]["largest"] < 1


def test_parts_are_the_composites_and_shifts_the_predictions(dataset, tmp_path):
    """Predictions that are the real images, but for a constant in each part of the composite: knowing these leaves nothing."""
    oracle = make_oracle(dataset, four=SubmaskConfig(method="kmeans", clusters=4))
    (tmp_path / "theirs").mkdir()
    for index, item in enumerate(oracle.images.items):
        sample = oracle.images[index]
        labels = extract_submasks(sample.composite, sample.mask, method="kmeans", clusters=4).astype(int)
        made = np.clip(sample.real.astype(int) + 3 * labels[..., None], 0, 255).astype(np.uint8)
        Image.fromarray(made).save(tmp_path / "theirs" / f"{Path(item.composite_name).stem}.png")
    rows = oracle.of_predictions({"": tmp_path / "theirs"})[""]["idih"]
    for one in rows:
        assert one.scores["four"] == pytest.approx(0, abs=1e-9)
        assert one.scores[AS_IS] > 9
        assert one.scores["input_as it is"] > one.scores["input_four"] > 0


def run(*words):
    return run_here("scripts/oracle.py", *words)


def test_program_of_a_run(capsys, dataset, small_config, tmp_path):
    config = small_config(data={"root": str(dataset)})
    model = no_weight_is_zero(build_model(config))
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, model, {"step": 7})
    out = tmp_path / "out"
    words = [tmp_path / "run", "--methods", "whole", "kmeans:2", "data.workers=0", "--images", 2, "--out", out]
    assert run(*words) == 0
    printed = capsys.readouterr().out
    found = json.loads((out / "oracle.json").read_text())
    assert list(found["fmse"]) == ["Input composite", "FRIH, coarse", "FRIH"]
    assert len({cells["All"][AS_IS] for cells in found["fmse"].values()}) == 3
    for name, cells in found["fmse"].items():
        assert f"{name}: fMSE, and what is left of it after the best colour shift of each part" in " ".join(
            printed.split()
        )
        assert cells["All"][AS_IS] > cells["All"]["whole"] > cells["All"]["kmeans:2"] > 0
    lines = list(csv.DictReader((out / "oracle.csv").read_text().splitlines()))
    assert float(lines[-1]["kmeans:2"]) == found["fmse"]["FRIH"]["All"]["kmeans:2"]
    assert len(lines) == 9  # three systems, two subsets and all
    assert {path.name for path in out.iterdir()} == {"oracle.csv", "oracle.json", "oracle.md", "rows.csv"}


def test_program_of_composites_without_foreground(capsys, dataset):
    words = ["--input-composite", f"data.root={dataset}", "data.size=128", "--methods", "whole"]
    mask = next((dataset / "B/masks").glob("b-1*"))
    Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    assert run(*words) == 0
    printed = capsys.readouterr().out
    assert "1 image without foreground left out, as B/" in printed
    assert "All (1)" in printed
    mask = next((dataset / "A/masks").glob("a-3*"))
    Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    assert run(*words) == 2
    assert "no image of" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["run", "--input-composite"], ["--input-composite", "--predictions", "x"]])
def test_program_wants_one_thing_to_look_at(capsys, words):
    assert run(*words) == 2
    assert "give one of: a run" in capsys.readouterr().err
