"""Every recipe loads, builds, and opens with its command, its cost and its score."""

import pytest
import torch

from frih.config.recipes import load_config
from frih.models import build_model
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"
RECIPES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name):
    config = load_config(CONFIGS / name, ["data.root=somewhere"])
    with torch.device("meta"):
        assert (build_model(config).cascade is not None) == config.model.cascade
    head = (CONFIGS / name).read_text().splitlines()[:16]
    assert head[0].startswith("# ")
    assert any(line.startswith("#   ") and f"train.py configs/{name}" in line for line in head)
    assert any(line.startswith("# Costs:") for line in head)
    assert any(line.startswith("# Scores:") for line in head)
    assert config.run == f"runs/{name.removesuffix('.yaml')}"


def difference(name: str) -> dict[str, object]:
    """The keys in which a recipe differs from frih.yaml, and its values."""
    ours, theirs = (load_config(CONFIGS / one).model_dump() for one in (name, "frih.yaml"))
    return {
        f"{section}.{key}": keys[key]
        for section, keys in ours.items()
        if isinstance(keys, dict)
        for key in keys
        if keys[key] != theirs[section][key]
    }


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("ablations/baseline.yaml", {"model.cascade": False, "model.fusion": False}),
        ("ablations/cascade_submask.yaml", {"model.fusion": False}),
        ("ablations/cascade_globalmask.yaml", {"model.fusion": False, "submasks.method": "whole"}),
        ("ablations/separate.yaml", {"train.end_to_end": False}),
    ],
)
def test_recipes_of_the_papers_tables_differ_in_nothing_but_what_they_ablate(name, differs):
    assert difference(name) == differs


def test_frih_yaml_is_the_defaults():
    assert load_config(CONFIGS / "frih.yaml", ["run=null"]) == load_config(None)
