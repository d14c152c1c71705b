import csv
import json

import numpy as np
import pytest
from PIL import Image

from frih import Harmonizer
from frih.config import DataConfig, SubmaskConfig
from frih.data.dataset import CompositeDataset
from frih.data.iharmony4 import read_split
from frih.evaluation import Evaluation
from frih.evaluation.statistics import Interval
from frih.harmonizing.kinds import KINDS
from frih.metrics import Row
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from frih.tools.experiments.limits import ALL, Part, findings, is_limit, parts
from frih.tools.experiments.strengths import STRENGTHS, Strengths, Unchanged, best_strength, curve
from tests.conftest import no_weight_is_zero, run_here


def part(share=0.4, low=0.35, *, images=30, photos=10, before=1000.0, after=950.0, kind="dark"):
    return Part(kind, "it is dark", before, after, Interval(share, low, share + 0.1, images, photos))


OVERALL = part(0.3, 0.28, images=500, photos=200, kind=ALL)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({}, True),
        ({"low": 0.301}, True),
        ({"low": 0.3}, False),
        ({"after": 901.0}, True),
        ({"after": 900.0}, False),
        ({"after": 1400.0}, True),
        ({"images": 29}, False),
        ({"photos": 9}, False),
        ({"low": float("nan")}, False),
    ],
)
def test_what_is_a_limit(of, expected):
    assert is_limit(part(**of), OVERALL) == expected


def test_limits_say_what_was_measured():
    found = findings([OVERALL, part(), part(0.2, 0.1, kind="grey"), part(0.5, 0.4, kind="cat")], 0.7)
    assert found.strength == 0.7
    assert [limit.kind for limit in found.limits] == ["dark", "cat"]
    assert found.limits[0].model_dump() == {
        "kind": "dark",
        "text": "Where it is dark, 40 % of 30 composites became worse by more than a tenth (30 % of all).",
        "images": 30,
        "worse_10": 0.4,
        "overall": 0.3,
    }


def made(number, *, photo=None, dark=0.0, **fmse):
    """A row of these fMSEs; those that are not given are the composite's, 100."""
    scores = {f"{strength:g}_fmse": 100.0 for strength in STRENGTHS} | {
        f"{strength}_fmse": value for strength, value in fmse.items()
    }
    harm = {f"{strength:g}_worse_10": float(scores[f"{strength:g}_fmse"] > 110) for strength in STRENGTHS}
    kinds = {"kind:dark": dark, "kind:grey": 0.0}
    name = f"{photo or number}_2_1.jpg"
    return Row("A", name, f"{photo or number}.jpg", 0.1, 1, {"input_fmse": 100.0, **scores, **harm, **kinds})


def test_kinds_and_categories_by_hand(monkeypatch):
    kinds = {name: kind for name, kind in KINDS.items() if name in ("dark", "grey")}
    monkeypatch.setattr("frih.tools.experiments.limits.KINDS", kinds)
    rows = [made(0, dark=1.0, **{"1": 120.0}), made(1, dark=1.0, **{"1": 50.0}), made(2), made(3, **{"1": 10.0})]
    found = parts(rows, 1.0, {"0_2": "cat", "1_2": "person", "2_2": "person", "3_1": "another mask"})
    assert [(one.kind, one.before, one.after, one.worse_10.mean, one.worse_10.images) for one in found] == [
        (ALL, 100, 70, 0.25, 4),
        ("dark", 100, 85, 0.5, 2),
        ("person", 100, 75, 0, 2),
        ("cat", 100, 120, 1, 1),
    ]


@pytest.mark.parametrize(
    ("fmse", "expected"),
    [
        ([{"0.8": 40.0, "1": 50.0}] * 9, 0.8),
        ([{"0.8": 60.0, "1": 50.0}] * 9, 1),
        ([{"1": 120.0}] * 9, 0),  # and a tie of all others
        ([{"0.8": 20.0, "1": 50.0}] + [{"0.8": 52.0, "1": 50.0}] * 8, 1),  # better on average, by one photo alone
    ],
)
def test_the_best_strength(fmse, expected):
    assert best_strength([made(number, **one) for number, one in enumerate(fmse)]) == expected


@pytest.fixture
def images(dataset):
    return CompositeDataset(
        read_split(str(dataset), "train").items, DataConfig(size=128), SubmaskConfig(method="whole")
    )


def test_strengths_of_a_network(images, small_config):
    model = no_weight_is_zero(build_model(small_config(model={"cascade": False, "fusion": False})))
    rows = Strengths(images).of_model(model)["idih"]
    known = Evaluation(images, rounded=True).of_model(model)["idih"]  # as evaluate.py, in 8 bits
    for row, whole in zip(rows, known, strict=True):
        assert row[:5] == whole[:5]
        assert row.scores["1_fmse"] == whole.scores["fmse"]
        assert row.scores["0_fmse"] == row.scores["input_fmse"] == whole.scores["input_fmse"]
        assert row.scores["0_worse"] == row.scores["0_change"] == 0
        assert row.scores["0.5_change"] == pytest.approx(row.scores["1_change"] / 2, abs=0.5)
        assert row.scores["kind:three sides"] == 0
    unchanged = Strengths(Unchanged(images)).of_model(model)["idih"]
    assert len(unchanged) == 6  # the real images of ten composites
    assert [one.scores["input_fmse"] for one in unchanged] == [0] * 6
    points = curve(rows, unchanged)
    assert [point.strength for point in points] == list(STRENGTHS)
    assert points[0].ratio[:3] == (1, 1, 1)
    assert points[10].ratio.mean == pytest.approx(points[10].fmse.mean / points[0].fmse.mean)
    assert points[10].change.mean == pytest.approx(np.mean([one.scores["1_change"] for one in unchanged]))


def test_the_program_and_what_it_finds_with_the_weights(dataset, small_config, tmp_path, capsys):
    config = small_config(data={"root": str(dataset)})
    save_checkpoint(tmp_path / "run/checkpoints/last.pt", config, no_weight_is_zero(build_model(config)), {"step": 7})
    words = tmp_path / "run", "--split", "train", "--strength", "0.7", "--out", tmp_path / "out", "data.workers=0"
    assert run_here("scripts/limits.py", *words) == 0
    printed = capsys.readouterr().out
    assert "last.pt on 10 composites of" in printed
    assert "strength 0.7; 0 limits" in printed
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("kinds.csv", "limits.json", "limits.md", "rows.csv", "strengths.csv", "strengths.png", "unchanged.csv"),
    ]
    found = json.loads((tmp_path / "out/limits.json").read_text())
    assert (found["strength"], found["limits"]) == (0.7, [])
    points = list(csv.DictReader((tmp_path / "out/strengths.csv").read_text().splitlines()))
    assert [float(point["strength"]) for point in points] == list(STRENGTHS)
    assert float(points[0]["ratio"]) == 1
    with Image.open(tmp_path / "out/strengths.png") as plot:
        assert plot.width > 800
    limits = "--limits", tmp_path / "out/limits.json"
    assert (
        run_here("scripts/export.py", tmp_path / "run", "--out", tmp_path / "shared", "--format", "hub", *limits) == 0
    )
    assert Harmonizer.load(tmp_path / "shared", "cpu").findings.strength == 0.7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give weights: a run, a checkpoint or a file"),
        (["one", "two"], "give weights: a run, a checkpoint or a file"),
        (["nothing"], "nothing: no such run folder or checkpoint"),
    ],
)
def test_command_lines_that_make_no_sense(capsys, words, message):
    assert run_here("scripts/limits.py", *words) == 2
    assert message in capsys.readouterr().err
