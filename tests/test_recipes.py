"""Every recipe loads, builds, and opens with its command, its cost and its score."""

from pathlib import Path

import pytest

from frih.config.recipes import load_config
from frih.models import build_model

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_recipe(path):
    config = load_config(path, ["data.root=somewhere"])
    model = build_model(config)
    assert (model.cascade is not None) == config.model.cascade
    head = path.read_text().splitlines()[:16]
    assert head[0].startswith("# ")
    name = path.relative_to(CONFIGS.parent).as_posix()
    assert any(line.startswith("#   ") and f"train.py {name}" in line for line in head)
    assert any(line.startswith("# Costs:") for line in head)
    assert any(line.startswith("# Scores:") for line in head)
    assert config.run == str(Path("runs", path.relative_to(CONFIGS).with_suffix("")))


def difference(name: str) -> set[str]:
    """Keys in which a recipe differs from frih.yaml."""
    ours, theirs = (load_config(CONFIGS / one).model_dump() for one in (name, "frih.yaml"))
    return {
        f"{section}.{key}"
        for section, keys in ours.items()
        if isinstance(keys, dict)
        for key in keys
        if keys[key] != theirs[section][key]
    }


def test_all_recipes_of_the_papers_tables_are_there():
    names = {str(path.relative_to(CONFIGS)) for path in RECIPES}
    assert names >= {
        "frih.yaml",
        "sample.yaml",
        *(f"ablations/{name}.yaml" for name in ("baseline", "cascade_globalmask", "cascade_submask", "separate")),
        *(f"cutoff/{cutoff}.yaml" for cutoff in (0.01, 0.05, 0.2, 0.3, 0.4)),
    }


def test_ablations_differ_in_nothing_but_what_they_ablate():
    assert difference("ablations/baseline.yaml") == {"model.cascade", "model.fusion"}
    assert difference("ablations/cascade_submask.yaml") == {"model.fusion"}
    assert difference("ablations/cascade_globalmask.yaml") == {"model.fusion", "submasks.method"}
    assert difference("ablations/separate.yaml") == {"train.end_to_end"}
    assert difference("cutoff/0.01.yaml") == {"submasks.cutoff"}


@pytest.mark.parametrize("cutoff", [0.01, 0.05, 0.2, 0.3, 0.4])
def test_cutoffs(cutoff):
    assert load_config(CONFIGS / "cutoff" / f"{cutoff}.yaml").submasks.cutoff == cutoff


def test_frih_yaml_is_the_defaults():
    assert load_config(CONFIGS / "frih.yaml", ["run=null"]) == load_config(None)
