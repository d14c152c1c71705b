"""Recipes: YAML files with ``base:`` and ``key=value`` overrides become a configuration. All errors are reported at once.

YAML 1.2 is used, so ``2e-4`` is a number and ``on`` is a word. A key given twice is an error.
"""

import json
import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from frih.common.errors import UserError, did_you_mean
from frih.config import Config

Key = tuple[str, ...]


def load_config(recipe: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Reads a recipe: its bases first, then the recipe, then the overrides. Later values replace earlier ones.

    If ``run`` is not set, it follows the recipe: ``configs/ablations/baseline.yaml`` trains in ``runs/ablations/baseline``.

    Args:
        recipe: a YAML file; None takes the defaults of :mod:`frih.config`.
        overrides: ``"key.sub=value"``, values in YAML.

    Raises:
        UserError: the message lists every fault with its file, line and key.
    """
    settings = _Settings({}, {}, [])
    if recipe:
        settings = _Settings({"run": _default_run(recipe)}, {}, []).updated(_read(recipe, ()))
    return _validate(settings.updated(_parse_overrides(overrides)))


def with_overrides(config: Config, overrides: Sequence[str], *, only: Sequence[str], otherwise: str = "") -> Config:
    """Changes some keys of a configuration.

    Args:
        config: the configuration.
        overrides: ``"key.sub=value"``.
        only: the keys and sections that may be changed.
        otherwise: what to do to change others, for the message.

    Raises:
        UserError: as :func:`load_config`; or the value of another key would change.
    """
    base = _Settings(config.model_dump(mode="json"), {}, [])
    changed = _validate(base.updated(_parse_overrides(overrides)))
    free = tuple(f"{key}." for key in only)
    fixed = [key for key in differences(config, changed) if not f"{key}.".startswith(free)]
    if fixed:
        raise UserError(
            f"command line: {', '.join(fixed)}: is fixed by the run; here only {', '.join(only)} can be given"
            + (f"; {otherwise}" if otherwise else "")
        )
    return changed


def to_yaml(config: Config) -> str:
    """A configuration as a recipe that sets every key."""
    return yaml.dump(
        config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120
    )


class _Settings(NamedTuple):
    """A tree of unchecked settings, the origin of each key, and the faults found so far."""

    tree: dict[str, Any]
    origins: dict[Key, str]
    faults: list[str]

    def updated(self, other: "_Settings") -> "_Settings":
        """These settings, replaced by others where those are set."""
        tree = _merge(self.tree, other.tree)
        return _Settings(tree, self.origins | other.origins, self.faults + other.faults)

    def origin(self, key: Key) -> str:
        """The place where a key was set, or else its section."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins.get(key, "")


def _read(path: Path, above: tuple[Path, ...]) -> _Settings:
    """Reads a recipe and its base. ``above`` are the recipes that are based on it."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        asked = f"{above[-1]}: base: " if above else ""
        nearest = did_you_mean(path.name, (found.name for found in path.parent.glob("*.yaml")))
        raise UserError(f"{asked}{path}: no such recipe{nearest}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a recipe ({error})") from None
    settings = _parse(text, str(path))
    base = settings.tree.pop("base", None)
    if base is None:
        return settings
    if not isinstance(base, str):
        raise UserError(f"{path}: base: takes the path of one recipe, not {base!r}")
    parent = path.parent / base
    if parent.resolve() in [one.resolve() for one in (*above, path)]:
        raise UserError(f"{path}: base: {base} is based on this recipe itself; break the circle")
    return _read(parent, (*above, path)).updated(settings)


def _parse(text: str, source: str) -> _Settings:
    """Parses a YAML document into settings with the line of each key."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return _Settings({}, {}, [])
        if not isinstance(node, yaml.MappingNode):
            raise UserError(f"{source}: is no recipe: it must consist of 'key: value' lines")
        origins, faults = {}, []
        for key, line, doubled in _keys(node):
            if doubled:
                faults.append(f"{source}:{line}: {'.'.join(key)}: given twice; keep one")
            origins[key] = f"{source}:{line}"
        return _Settings(loader.construct_document(node), origins, faults)
    except RecursionError:
        raise UserError(f"{source}: is not valid YAML: an alias (*name) contains itself") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{source}: is not valid YAML: {problem}") from None
    finally:
        loader.dispose()


def _keys(node: yaml.MappingNode, above: Key = ()) -> Iterator[tuple[Key, int, bool]]:
    """All keys below a node, as (key, line, whether it was given before)."""
    seen = set()
    for name, value in node.value:
        key = (*above, str(name.value))
        yield key, name.start_mark.line + 1, key in seen
        seen.add(key)
        if isinstance(value, yaml.MappingNode):
            yield from _keys(value, key)


def _parse_overrides(overrides: Sequence[str]) -> _Settings:
    settings = _Settings({}, {}, [])
    for override in overrides:
        name, equals, value = override.partition("=")
        keys = tuple(name.strip().split("."))
        if not equals or not all(keys):
            settings.faults.append(f"command line: {override!r} is not of the form key.sub=value")
            continue
        if not value.strip():
            settings.faults.append(f"command line: {name}: no value given (null means none)")
            continue
        parsed = _parse(f"value: {value}", f"command line: {override}")
        tree: Any = parsed.tree["value"]
        for key in reversed(keys):
            tree = {key: tree}
        settings = settings.updated(_Settings(tree, {keys: "command line"}, parsed.faults))
    return settings


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}


def _validate(settings: _Settings) -> Config:
    """Checks a tree as JSON: there pydantic's strict mode accepts a list for a tuple, but not ``true`` for 1."""
    faults = list(settings.faults)
    try:
        config = Config.model_validate_json(json.dumps(settings.tree, default=str))
    except ValidationError as error:
        faults += [_explain(detail, settings) for detail in error.errors()]
    if faults:
        raise UserError("\n".join(faults))
    return config


def _explain(detail: ErrorDetails, settings: _Settings) -> str:
    """Describes one of pydantic's errors in one line."""
    key = tuple(str(part) for part in detail["loc"])
    given = json.dumps(detail["input"], default=str)
    if detail["type"] == "extra_forbidden":
        problem = "unknown key" + did_you_mean(".".join(key), [".".join(known) for known in _known_keys(Config)])
        if "did you mean" not in problem:
            problem += _same_leaf(key)
    elif detail["type"] == "model_type":
        problem = f"is a section, not {given}: give its keys below it, or leave it out"
    elif detail["type"] == "value_error":
        problem = detail["msg"].removeprefix("Value error, ")
    else:
        expected = detail["msg"][:1].lower() + detail["msg"][1:]
        problem = f"{expected}, not {given if len(given) < 60 else given[:56] + ' ...'}"
        if detail["type"] == "literal_error" and isinstance(detail["input"], str):
            problem += did_you_mean(detail["input"], re.findall(r"'(\w+)'", detail["ctx"]["expected"]))
    return ": ".join(part for part in (settings.origin(key), ".".join(key), problem) if part)


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The old and new value of each key that differs: ``{"train.lr": (0.1, 0.2)}``."""
    before, after = _flatten(old), _flatten(new)
    return {key: (value, after[key]) for key, value in before.items() if value != after[key]}


def _same_leaf(key: Key) -> str:
    """Suggests ``train.lr`` for ``lr`` at the top level, though the words are not similar."""
    same = [".".join(known) for known in _known_keys(Config) if known[-1] == key[-1]]
    return f"; did you mean {' or '.join(map(repr, same))}?" if same else ""


def _known_keys(section: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        yield (*above, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_keys(field.annotation, (*above, name))


def _flatten(config: BaseModel) -> dict[str, Any]:
    """All values by dotted key, ``{"train.epochs": 180, ...}``."""
    values: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            values |= {f"{name}.{key}": one for key, one in _flatten(value).items()}
        else:
            values[name] = value
    return values


def _default_run(recipe: Path) -> str:
    """``runs/`` and the recipe's path below the folder ``configs``, without its suffix."""
    parts = recipe.with_suffix("").parts
    below = parts[parts.index("configs") + 1 :] if "configs" in parts else parts[-1:]
    return str(Path("runs", *below))


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: null, booleans and numbers; everything else is a word."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own interface)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        return {str(name): value for name, value in super().construct_mapping(node, deep).items()}


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    """PyYAML itself reads 010 as eight and 1:30 as ninety."""
    return int(str(loader.construct_scalar(node)))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


class _Dumper(yaml.SafeDumper):
    """Quotes the words that :class:`_Loader` would read as something else."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
