"""Recipes and overrides that cannot become a configuration: refused by file, line and key, and soon."""

import os
import time
from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.config import Config
from frih.config.recipes import load_config


def refusal(recipe: Path | None, *overrides: str) -> str:
    """The message, without the recipe's path."""
    begun = time.process_time()
    with pytest.raises(UserError) as caught:
        load_config(recipe, overrides)
    assert time.process_time() - begun < 3  # mostly a tenth
    return str(caught.value).replace(str(recipe), "R")


@pytest.fixture
def recipe(tmp_path):
    return tmp_path / "recipe.yaml"


def bomb(first: str, level: str) -> str:
    """Nine levels, each of which names the one before nine times."""
    lines = [f"a: &a {first}"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {level.replace('@', f'*{before}')}")
    return "\n".join(lines)


NINE, KEYS = ", ".join("@" * 9), ", ".join(f"k{i}: @" for i in range(9))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  epochs: !!int abc", "R:2: train.epochs: 'abc' is no !!int"),
        ("train: {lr: !!float 1.2.3}", "R:1: train.lr: '1.2.3' is no !!float"),
        ("train: {tf32: !!bool maybe}", "R:1: train.tf32: 'maybe' is no !!bool"),
        ("train: {clip_norm: !!null x}", "R:1: train.clip_norm: 'x' is no !!null"),
        ("run: !!timestamp 2001-13-45", "R:1: run: the tag !!timestamp has no meaning here; leave it out"),
        ("run: !!binary 3", "R:1: run: the tag !!binary has no meaning"),
        ("data: !!set {a, b}", "R:1: data: the tag !!set has no meaning"),
        ("run: !!python/name:os.system", "R:1: run: the tag !!python/name:os.system has no meaning"),
        ("!!int\nseed: 1", "R:1: the tag !!int has no meaning here; leave it out"),
        ("train: {betas: [0.9, !!float x]}", "R:1: train.betas: 'x' is no !!float"),
        (f"seed: {'9' * 5000}", "R:1: seed: a number of 5000 digits"),
        (f"seed: {2**63}", "R:1: seed: input should be less than or equal to 9223372036854775807"),
        ("train: {lr: 1e999}", "R:1: train.lr: input should be a finite number"),
        ("train: {lr: .nan}", "R:1: train.lr: input should be a finite number"),
        ('run: "a\\0b"', "R:1: run: 'a\\x00b' is no path: it holds a NUL character"),
        ('\nbase: "a\\0b"', "R:2: base: 'a\\x00b' is no path"),
        ("base: 3", "R:1: base: takes the path of one recipe, not 3"),
        ("run: a\0b", "R:1: is not valid YAML: the character U+0000 in it"),
        ("seed: 1\nrun: \x1b[31m", "R:2: is not valid YAML: the character U+001B"),
        ('run: "\\ud800"', "R:1: run: holds U+D800, which is no character"),
        ('"\\udfff": 1', "R:1: \\udfff: holds U+DFFF"),
        ('run: "\\UFFFFFFFF"', "R:1: is not valid YAML: "),
        (f"%YAML {'9' * 5000}.1\n---\nseed: 1", "R:1: is not valid YAML: "),
        ('"\\e[31m": 1', "R:1: \\x1b[31m: unknown key"),
        ('run: ""', "R:1: run: string should have at least 1 character"),
        ("? [a]\n: 2", "R:1: ?: a key is a word, not a list or a section"),
        ("seed: 1\n---\nseed: 2", "R:2: is not valid YAML: expected a single document"),
        ("run: *x", "R:1: is not valid YAML: found undefined alias"),
        ("data.root: x", "R:1: data.root: write it as data: {root: ...}"),
        ("seed: &s [*s]", "R:1: seed: is not valid YAML: an alias (*name) contains itself"),
        (
            "model: &m\n  arguments: {a: *m}",
            "R:1: model.arguments.a: is not valid YAML: an alias (*name) contains itself",
        ),
        (bomb("[x]", f"[{NINE}]"), "stands for too many values: aliases (*name) repeat too much"),
        (bomb("{k: 1}", f"{{{KEYS}}}"), "stands for too many values"),
        (bomb("{k: 1}", f"{{!!merge <<: [{NINE}]}}"), "stands for too many values"),
        (f"a: &a {'x' * 30000}\nb: [{'*a, ' * 5000}]", "stands for too many values"),
        ("[" * 60000, "R:1: is not valid YAML: nested too deeply"),
        ("- " * 30000, "R:1: is not valid YAML: nested too deeply"),
        ("\n".join(f"{' ' * i}a:" for i in range(300)), "lies too deep"),
        ("\n".join(f"key{i}: 1" for i in range(2000)), "and 1980 more"),
        (f"? {'k' * 60000}\n: 1", "kkk ...: unknown key"),
        ("#" * 70000, "R: is no recipe: it is larger than 64 KiB"),
        ("just words", "R: is no recipe: it must consist of 'key: value' lines"),
    ],
    ids=lambda value: value[:30],
)
def test_texts(recipe, text, message):
    recipe.write_bytes(text.encode())
    assert message in refusal(recipe)


def test_what_is_no_file_of_text(tmp_path):
    assert refusal(tmp_path) == "R: is a folder, not a file; give the path of a recipe"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(pipe).startswith("R: is a pipe, not a file")
    assert refusal(Path("/dev/zero")).startswith("R: is a device or socket, not a file")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert refusal(binary).startswith("R: is no recipe: it is not text in UTF-8")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert refusal(loop).startswith("R: cannot be read as a recipe (Too many levels of symbolic links)")
    assert "cannot be read as a recipe (File name too long)" in refusal(tmp_path / ("x" * 300))
    assert refusal(Path()).startswith("R: is a folder")


def test_bases_that_lead_nowhere(tmp_path, monkeypatch):
    recipe = tmp_path / "recipe.yaml"
    for base, message in (
        (".", f"R: base: {tmp_path}: is a folder"),
        ("recipe.yaml", "R:1: base: recipe.yaml is based on this recipe itself; break the circle"),
        ("~nobody-here/x", "R:1: base: ~nobody-here has no home folder here"),
        ("/dev/null", "R: base: /dev/null: is a device or socket"),
    ):
        recipe.write_text(f"base: {base}\n")
        assert refusal(recipe).startswith(message)
    for number in range(30):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml\n")
    assert "20.yaml:1: base: 21.yaml would be recipe number 22 of a chain" in refusal(tmp_path / "0.yaml")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("seed: 7\n")
    recipe.write_text("base: ~/mine.yaml\n")
    assert load_config(recipe).seed == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=!!float abc", "command line: train.lr: 'abc' is no !!float"),
        ("train.betas=[", "command line: train.betas: is not valid YAML: "),
        ("seed=1\nrun: x", "command line: seed: takes one value"),
        ("seed=[[[[*a", "command line: seed: is not valid YAML: "),
        ("data.root=\udcff", "command line: data.root: holds U+DCFF, which is no character"),
        ("\udcff=1", "is not of the form key.sub=value"),
        ("data.root=a\0b", "command line: data.root: 'a\\x00b' is no path"),
        ("data.root=~nobody-here/x", "command line: data.root: ~nobody-here has no home folder here"),
        ("data.subsets=A", "command line: data.subsets: takes a list: [ONE, TWO]"),
        ("train.device=tpu", "train.device: there is no device 'tpu': take auto, cpu, cuda, cuda:1, xpu or mps"),
        ("train.device=null", "train.device: input should be a valid string, not null"),
        (f"{'a.' * 3000}b=1", "is not of the form key.sub=value"),
        (f"{'k' * 100000}=1", "kkk ...: unknown key"),
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_overrides(override, message):
    assert message in refusal(None, override)


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        ("data", "size", [0, 127, 192, 2**40]),
        ("data", "workers", [-1, 10**6]),
        ("data", "crop_ratio", [[1e-9, 1], [1, 1e9], [1]]),
        ("submasks", "candidates", [0, 256]),
        ("submasks", "clusters", [0, 256]),
        ("submasks", "min_density", [-1, 2**40]),
        ("model", "base_widths", [[10**9] * 7, [0] * 7, [4] * 8]),
        ("model", "cascade_widths", [[3000] * 7]),
        ("model", "head_width", [0, 10**9]),
        ("train", "epochs", [0, 10**9]),
        ("train", "batch", [0, 10**9]),
        ("train", "accumulate", [0, 10**9]),
        ("train", "lr", [0, -1, 1e300]),
        ("train", "warmup_steps", [-1, 10**12]),
        ("train", "milestones", [[10**9], [0], list(range(1, 2000))]),
        ("train", "profile", [10**6]),
        ("validation", "images", [-1, 10**6]),
        ("evaluation", "batch", [0, 10**9]),
        ("checkpoint", "keep", [0, 10**12]),
    ],
)
def test_numbers_that_nobody_means(section, key, values):
    for value in values:
        assert refusal(None, f"{section}.{key}={value}").startswith(f"command line: {section}.{key}")


def test_every_number_is_bounded_on_both_sides():
    def unbounded(schema: dict, name: str) -> list[str]:
        found = []
        if schema.get("type") in ("integer", "number"):
            low, high = ({end, f"exclusive{end.capitalize()}"} & set(schema) for end in ("minimum", "maximum"))
            found = [] if low and high else [name]
        parts = [*schema.get("anyOf", []), *schema.get("prefixItems", [])]
        parts += [schema["items"]] if isinstance(schema.get("items"), dict) else []
        return found + [one for part in parts for one in unbounded(part, name)]

    schema = Config.model_json_schema()
    fields = [("", schema["properties"]), *((name, one.get("properties", {})) for name, one in schema["$defs"].items())]
    assert [
        one for name, keys in fields for key, value in keys.items() for one in unbounded(value, f"{name}.{key}")
    ] == []
