"""Recipes and overrides, and the traps of YAML."""

from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.config import Config
from frih.config.recipes import load_config, to_yaml, with_overrides


@pytest.fixture
def recipe(tmp_path):
    def write(text: str, name: str = "recipe.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def error_of(call, *args) -> str:
    with pytest.raises(UserError) as caught:
        call(*args)
    return str(caught.value)


def test_defaults_are_the_papers():
    config = load_config(None)
    assert config == Config()
    assert (config.train.epochs, config.train.batch, config.train.betas) == (180, 128, (0.9, 0.999))
    assert (config.train.milestones, config.learning_rate) == ((160, 175), 0.008)
    assert (config.submasks.cutoff, config.loss.min_area, config.data.size) == (0.1, 100, 256)
    assert (config.train.warmup_steps, config.train.clip_norm) == (0, None)


def test_the_learning_rate_follows_the_batch_unless_set():
    assert load_config(None, ["train.batch=32"]).learning_rate == pytest.approx(0.002)
    assert load_config(None, ["train.batch=32", "train.lr=0.5"]).learning_rate == 0.5


def test_base_then_recipe_then_overrides(recipe):
    recipe("seed: 1\ntrain: {epochs: 3, batch: 4}\n", "base.yaml")
    recipe("base: base.yaml\ntrain: {epochs: 5}\n", "middle.yaml")
    path = recipe("base: ../middle.yaml\ndata: {flip: 0}\n", "deep/top.yaml")
    config = load_config(path, ["train.batch=8", "data.subsets=[A, B]"])
    assert (config.seed, config.train.epochs, config.train.batch, config.data.flip) == (1, 5, 8, 0)
    assert config.data.subsets == ("A", "B")


def test_the_run_folder_follows_the_recipes_name(recipe):
    path = recipe("seed: 1\n", "configs/ablations/mine.yaml")
    assert load_config(path).run == "runs/ablations/mine"
    assert load_config(path, ["run=elsewhere"]).run == "elsewhere"
    assert load_config(recipe("run: kept\n", "other.yaml")).run == "kept"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train: {lr: 2e-4}", "train.lr", 2e-4),
        ("train: {lr: .5}", "train.lr", 0.5),
        ("run: on", "run", "on"),
        ("seed: 010", "seed", 10),
    ],
)
def test_numbers_and_words_are_those_of_yaml_1_2(recipe, text, key, value):
    for config in (load_config(recipe(text)), load_config(None, [f"{key}={text.strip('}').split(': ')[-1]}"])):
        for name in key.split("."):
            config = getattr(config, name)
        assert config == value


def test_a_key_given_twice_is_an_error(recipe):
    path = recipe("train:\n  lr: 1\n  epochs: 2\n  lr: 3\n")
    assert error_of(load_config, path) == f"{path}:4: train.lr: given twice; keep one"


@pytest.mark.parametrize("value", ["true", "'3'", "2.5", "null", "[1]"])
def test_nothing_but_an_integer_is_an_integer(recipe, value):
    path = recipe(f"train:\n  epochs: {value}\n")
    assert error_of(load_config, path).startswith(f"{path}:2: train.epochs: ")


def test_unknown_keys_are_named_with_the_nearest_known_one(recipe):
    path = recipe("train:\n  epoch: 3\nlr: 1\nzzz: 1\n")
    lines = error_of(load_config, path).splitlines()
    assert lines == [
        f"{path}:2: train.epoch: unknown key; did you mean 'train.epochs'?",
        f"{path}:3: lr: unknown key; did you mean 'train.lr'?",
        f"{path}:4: zzz: unknown key",
    ]
    assert error_of(load_config, None, ["zzz.a=1"]) == "command line: zzz: unknown key"


def test_every_error_at_once_with_its_source(recipe):
    recipe("data: {flip: 2}\n", "base.yaml")
    path = recipe("base: base.yaml\ntrain: {batch: 0}\nmodel: {norm: batches}\n")
    message = error_of(load_config, path, ["seed=-1", "nonsense", "run=", "submasks.cutoff=.nan"])
    assert f"{path.parent / 'base.yaml'}:1: data.flip: " in message
    assert f"{path}:2: train.batch: " in message
    assert f"{path}:3: model.norm: " in message
    assert "did you mean 'batch'?" in message
    assert "command line: seed: " in message
    assert "command line: 'nonsense' is not of the form key.sub=value" in message
    assert "command line: run: no value given" in message
    assert "submasks.cutoff" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model: {fusion: on}", 'model.fusion: input should be a valid boolean, not "on"'),
        ("seed: 1:30", "seed"),
        ("data: {crop_scale: [1.0, 0.5]}", "crop_scale takes [least, most]"),
        ("data: {crop_scale: [0, 0.5]}", "crop_scale starts above 0"),
        ("data: {size: 200}", "multiple of 128"),
        ("model: {cascade: false}", "without a cascade there is no fusion head"),
        ("train: {milestones: [5, 3]}", "milestones must ascend"),
        ("model: {base_widths: [1, 2]}", "at least 7"),
        ("submasks: {cutoff: 0}", "greater than 0"),
        ("evaluation: {protocol: mine}", "'idih'"),
        ("train: 3", "train: "),
        ("- 1", "is no recipe"),
        ("a: [", "not valid YAML"),
        ("base: [a]", "base: takes the path of one recipe"),
        ("base: recipe.yaml", "break the circle"),
        ("train:", ":1: train: is a section, not null: give its keys below it, or leave it out"),
        ("data: &d {root: *d}", ":1: data.root: is not valid YAML: an alias"),
    ],
)
def test_values_that_make_no_sense(recipe, text, expected):
    assert expected in error_of(load_config, recipe(text))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        *(
            (f"{key}={text}", text)
            for key in ("data.root", "run", "train.init_from")
            for text in ("set #2", "a: b", "[x", "'q'")
        ),
        *(
            (f"data.root={text}", text)
            for text in ("*a", "!x", "{}", "- a", "2024", "true", " a ", "a=b", "./~", "./null", "é")
        ),
        ("data.root=null", None),
        ("evaluation.lpips=~/w.pth", "/home/me/w.pth"),
        ("data.label_cache=~", "/home/me"),
        ("train.init_from=hf://user/name", "hf://user/name"),
        ("model.network=null", "null"),  # a key that cannot be without a text
        ("validation.list=#1", "#1"),
        ("data.subsets=[A #1, b: c, 'd, e', 7]", ("A #1", "b: c", "d, e", "7")),
        ("data.subsets=[]", ()),
        ("data.subsets=null", None),
        ('train.device="cuda:1"', "cuda:1"),  # no text but a choice, and so YAML
    ],
)
def test_texts_of_the_command_line_are_taken_as_they_are(monkeypatch, override, expected):
    monkeypatch.setenv("HOME", "/home/me")
    value = load_config(None, [override])
    for name in override.partition("=")[0].split("."):
        value = getattr(value, name)
    assert value == expected


def test_home_in_recipes(recipe, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(recipe("run: ~/r\ndata: {root: ~/d, label_cache: ./~}\nevaluation: {lpips: ~}\n"))
    assert (config.run, config.data.root, config.data.label_cache) == ("/home/me/r", "/home/me/d", "./~")
    assert config.evaluation.lpips is None  # null, in YAML
    assert load_config(recipe(to_yaml(config))) == config


def test_missing_recipes(recipe, tmp_path):
    recipe("seed: 1\n", "frih.yaml")
    assert "no such recipe; did you mean 'frih.yaml'?" in error_of(load_config, tmp_path / "firh.yaml")
    path = recipe("base: nowhere.yaml\n")
    assert error_of(load_config, path).startswith(f"{path}: base: ")


def test_a_circle_of_bases(recipe):
    path = recipe("base: b.yaml\n", "a.yaml")
    recipe("base: a.yaml\n", "b.yaml")
    assert "break the circle" in error_of(load_config, path)


def test_an_empty_recipe_is_the_defaults(recipe):
    path = recipe("# nothing\n")
    assert load_config(path, ["run=null"]) == Config()


def test_a_resolved_configuration_reads_back_as_itself(recipe):
    config = load_config(None, ["train.lr=2e-4", "run='on'", "data.subsets=[A, '1']", "data.root='null'"])
    assert load_config(recipe(to_yaml(config))) == config


def test_only_some_keys_may_change_later():
    config = load_config(None, ["data.root=/a"])
    changed = with_overrides(config, ["data.root=/b", "train.device=cpu"], only=("data", "train.device"))
    assert (changed.data.root, changed.train.device) == ("/b", "cpu")
    message = error_of(lambda: with_overrides(config, ["train.epochs=3"], only=("data", "train.device")))
    assert "train.epochs" in message
    assert with_overrides(config, ["train.epochs=180"], only=()) == config  # no change at all
