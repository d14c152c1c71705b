"""Recipes: YAML files with ``base:`` and ``key=value`` overrides become a configuration. All errors are reported at once.

Values of overrides are YAML (:mod:`frih.config.yaml_text`), but texts and paths are taken as they are, as ``data.root=set #2``;
there ``null`` means none, where a key may have none.
"""

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from frih.common.errors import UserError, did_you_mean
from frih.common.paths import at_home
from frih.config import Config
from frih.config.keys import FilePath, Text
from frih.config.yaml_text import Key, Parsed, dump, parse, parse_value, shortened, text_fault

_MOST_BYTES, _MOST_BASES, _MOST_FAULTS = 1 << 16, 20, 20


def load_config(recipe: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Reads a recipe: its bases first, then the recipe, then the overrides. Later values replace earlier ones.

    If ``run`` is not set, it follows the recipe: ``configs/ablations/baseline.yaml`` trains in ``runs/ablations/baseline``.

    Args:
        recipe: a YAML file; None takes the defaults of :mod:`frih.config`.
        overrides: ``"key.sub=value"``, values in YAML, those of texts and paths as they are.

    Raises:
        UserError: the message lists every fault with its file, line and key.
    """
    settings = _Settings({}, {}, [])
    if recipe:
        read = _read(recipe, ())
        settings = _Settings({"run": _default_run(recipe)}, {}, []).updated(read)
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
    return dump(config.model_dump(mode="json"))


def is_key(name: str) -> bool:
    """Whether ``key.sub`` is a key or a section, or lies below ``model.arguments``."""
    keys = tuple(name.split("."))
    return keys in _hints() or keys[:2] == ("model", "arguments")


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
        """The place where a key was set, or else its section, or else the first key below it."""
        above = key
        while above and above not in self.origins:
            above = above[:-1]
        below = (place for known, place in self.origins.items() if known[: len(key)] == key)
        return self.origins[above] if above else next(below, "")


def _read(path: Path, above: tuple[Path, ...]) -> _Settings:
    """Reads a recipe and its base. ``above`` are the recipes that are based on it."""
    text = _content(path, f"{above[-1]}: base: " if above else "")
    settings = _Settings(*parse(text, str(path)))
    base = settings.tree.pop("base", None)
    where = f"{settings.origins.get(('base',), path)}: base"
    if base is None:
        return settings
    if not isinstance(base, str):
        raise UserError(f"{where}: takes the path of one recipe, not {base!r}")
    try:
        parent = path.parent / at_home(base)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if os.path.realpath(parent) in map(os.path.realpath, (*above, path)):
        raise UserError(f"{where}: {base} is based on this recipe itself; break the circle")
    if len(above) == _MOST_BASES:
        raise UserError(
            f"{where}: {base} would be recipe number {_MOST_BASES + 2} of a chain; put some of them together"
        )
    return _read(parent, (*above, path)).updated(settings)


def _content(path: Path, asked: str) -> str:
    """The text of a recipe. Only a regular file is opened: reading a pipe may wait for ever."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{asked}{path}: is {_kind(about.st_mode)}, not a file; give the path of a recipe")
        if about.st_size > _MOST_BYTES:
            raise UserError(f"{asked}{path}: is no recipe: it is larger than {_MOST_BYTES >> 10} KiB")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        nearest = did_you_mean(path.name, (found.name for found in path.parent.glob("*.yaml")))
        raise UserError(f"{asked}{path}: no such recipe{nearest}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{asked}{path}: is no recipe: it is not text in UTF-8 ({error.reason})") from None
    except OSError as error:
        raise UserError(f"{asked}{path}: cannot be read as a recipe ({error.strerror or error})") from None


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


def _parse_overrides(overrides: Sequence[str]) -> _Settings:
    settings = _Settings({}, {}, [])
    for override in overrides:
        name, equals, value = override.partition("=")
        keys = tuple(name.strip().split("."))
        if not equals or not all(keys) or text_fault(name) or len(keys) > 20:
            settings.faults.append(f"command line: {shortened(override)!r} is not of the form key.sub=value")
            continue
        if not value.strip():
            settings.faults.append(f"command line: {name}: no value given (null means none)")
            continue
        parsed = _as_text(keys, value) or parse_value(value, keys)
        if parsed.faults:
            settings.faults.extend(parsed.faults)
            continue
        tree: Any = parsed.tree
        for key in reversed(keys):
            tree = {key: tree}
        settings = settings.updated(_Settings(tree, {keys: "command line"}, []))
    return settings


def _as_text(keys: Key, value: str) -> Parsed | None:
    """The value of a key that takes a text or a list of texts; None if the key takes something else."""
    hint = _hints().get(keys)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    is_list = tuple[Text, ...] in kinds
    if not (is_list or Text in kinds or FilePath in kinds):
        return None
    if type(None) in kinds and value == "null":
        return Parsed(None, {}, [])
    problem = text_fault(value)
    found: str | list[str] = value
    if is_list:
        if not re.fullmatch(r"\s*\[.*\]\s*", value, re.DOTALL):
            problem = problem or "takes a list: [ONE, TWO]"
        found = _items(value.strip()[1:-1])
    return Parsed(found, {}, [f"command line: {'.'.join(keys)}: {problem}"] if problem else [])


def _items(text: str) -> list[str]:
    """The texts between the brackets of a list. One with a comma stands in quotes."""
    found = re.findall(r"""\s*('[^']*'|"[^"]*"|[^,]*?)\s*(?:,|$)""", text)
    items = found[:-1] if found and not found[-1] else found
    return [item[1:-1] if item[:1] in ("'", '"') and item[-1:] == item[0] and len(item) > 1 else item for item in items]


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {**below, **{key: _merge(below.get(key), value) for key, value in above.items()}}


def _validate(settings: _Settings) -> Config:
    """Checks a tree as JSON: there pydantic's strict mode accepts a list for a tuple, but not ``true`` for 1."""
    faults = list(settings.faults)
    try:
        config = Config.model_validate_json(json.dumps(settings.tree))
    except ValidationError as error:
        more = error.errors()
        faults += [_explain(detail, settings) for detail in more[:_MOST_FAULTS]]
        faults += [f"and {len(more) - _MOST_FAULTS} more"] if len(more) > _MOST_FAULTS else []
    if faults:
        raise UserError("\n".join(faults))
    return config


def _explain(detail: ErrorDetails, settings: _Settings) -> str:
    """Describes one of pydantic's errors in one line."""
    key = tuple(shortened(str(part)) for part in detail["loc"])
    given = shortened(json.dumps(detail["input"], default=str), 56)
    if detail["type"] == "extra_forbidden" and is_key(".".join(key)):
        section, _, rest = key[-1].rpartition(".")
        problem = f"write it as {section}: {{{rest}: ...}}"
    elif detail["type"] == "extra_forbidden":
        problem = "unknown key" + did_you_mean(".".join(key), [".".join(known) for known in _hints()])
        if "did you mean" not in problem:
            problem += _same_leaf(key)
    elif detail["type"] == "model_type":
        problem = f"is a section, not {given}: give its keys below it, or leave it out"
    elif detail["type"] == "value_error":
        problem = detail["msg"].removeprefix("Value error, ")
    else:
        expected = detail["msg"][:1].lower() + detail["msg"][1:]
        problem = f"{expected}, not {given}"
        if detail["type"] == "literal_error" and isinstance(detail["input"], str):
            problem += did_you_mean(shortened(detail["input"]), re.findall(r"'(\w+)'", detail["ctx"]["expected"]))
    return ": ".join(part for part in (settings.origin(tuple(map(str, detail["loc"]))), ".".join(key), problem) if part)


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The old and new value of each key that differs: ``{"train.lr": (0.1, 0.2)}``."""
    before, after = _flatten(old), _flatten(new)
    return {key: (value, after[key]) for key, value in before.items() if value != after[key]}


def _same_leaf(key: Key) -> str:
    """Suggests ``train.lr`` for ``lr`` at the top level, though the words are not similar."""
    same = [".".join(known) for known in _hints() if known[-1] == key[-1]]
    return f"; did you mean {' or '.join(map(repr, same))}?" if same else ""


@cache
def _hints() -> dict[Key, Any]:
    """What each key and section takes."""
    return dict(_known_keys(Config))


def _known_keys(section: type[BaseModel], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    hints = get_type_hints(section, include_extras=True)
    for name in section.model_fields:
        yield (*above, name), hints[name]
        if isinstance(hints[name], type) and issubclass(hints[name], BaseModel):
            yield from _known_keys(hints[name], (*above, name))


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
