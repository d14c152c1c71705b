"""The YAML of recipes: the core schema of YAML 1.2, so ``2e-4`` is a number and ``on`` is a word.

What PyYAML makes of a text becomes values here, so that whatever it holds soon gives values, or faults with line and key: an
alias (``*name``) is followed, but not into itself, and only as long as all values together stay small.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from frih.common.errors import UserError
from frih.common.wording import printable

Key = tuple[str, ...]
_DEEPEST, _MOST = 50, 1 << 19
"""How deep values lie in each other, and how much they are in all: characters, and 16 for each value."""
_TAG = "tag:yaml.org,2002:"
_SCALARS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", "~nN", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text[0] in "tT"),
    "int": (r"[-+]?[0-9]+", "-+0123456789", int),  # PyYAML itself reads 010 as eight and 1:30 as ninety
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
        lambda text: float(re.sub(r"\.(?=[in])", "", text.lower())),
    ),
}
"""By name: the form of such a scalar, its first characters, and what makes its value."""


_NOTHING = object()
"""Instead of a value with a fault, so that it has no second one."""


class Parsed(NamedTuple):
    """The value of a text, where each key in it was given, and the faults found in it."""

    tree: Any
    origins: dict[Key, str]
    faults: list[str]


def parse(text: str, source: str) -> Parsed:
    """Reads a recipe.

    Args:
        text: of a YAML document of keys; an empty one has none.
        source: the file, for messages.

    Raises:
        UserError: it is not valid YAML, or not of keys and values.
    """
    node, fault = _compose(text)
    if fault:
        raise UserError(f"{source}:{fault}")
    if node is None:
        return Parsed({}, {}, [])
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{source}: is no recipe: it must consist of 'key: value' lines")
    reader = _Reader(source)
    tree = reader.value(node, ())
    return Parsed({} if tree is _NOTHING else tree, reader.origins, reader.faults)


def parse_value(text: str, key: Key) -> Parsed:
    """Reads the value that the command line gives a key."""
    node, fault = _compose(f"value: {text}")
    if fault or not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        problem = fault.partition(": ")[2] or "takes one value"
        return Parsed(None, {}, [f"command line: {'.'.join(key)}: {problem}"])
    reader = _Reader(None)
    return Parsed(reader.value(node.value[0][1], key), {}, reader.faults)


def dump(tree: Any) -> str:
    """Writes YAML that :func:`parse` reads as the same."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)


def text_fault(text: str) -> str:
    """What is wrong with a text that cannot be written as UTF-8; empty if nothing is."""
    odd = next((character for character in text if "\ud800" <= character <= "\udfff"), None)
    return f"holds U+{ord(odd):04X}, which is no character" if odd else ""


def shortened(text: str, most: int = 80) -> str:
    """A text for messages: short, and without what a terminal would obey."""
    shown = printable(text[:most])
    return shown if len(text) <= most else f"{shown} ..."


def _compose(text: str) -> tuple[yaml.Node | None, str]:
    """PyYAML's nodes of a document, or ``"line: what is wrong"``."""
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_node(), ""
    except yaml.reader.ReaderError as error:
        return None, f"{text.count(chr(10), 0, error.position) + 1}: is not valid YAML: {_shown(error.character)} in it"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(filter(None, (error.context, error.problem)))
        return None, f"{mark.line + 1 if mark else 1}: is not valid YAML: {problem}"
    except RecursionError:
        return None, f"{loader.line + 1 if loader else 1}: is not valid YAML: nested too deeply"
    except (ValueError, OverflowError) as error:  # of an escape that names no character, or a number in a directive
        return None, f"{loader.line + 1 if loader else 1}: is not valid YAML: {error}"
    finally:
        if loader:
            loader.dispose()


def _shown(character: Any) -> str:
    return f"the character U+{character:04X}" if isinstance(character, int) else f"the character {character!r}"


class _Reader:
    """Makes values of nodes, and notes the line of each key and every fault.

    Args:
        source: the file; None is the command line, which has no lines.
    """

    def __init__(self, source: str | None) -> None:
        self.source = source
        self.origins: dict[Key, str] = {}
        self.faults: list[str] = []
        self.within: set[int] = set()
        """The nodes around the present one."""
        self.room = _MOST

    def value(self, node: yaml.Node, key: Key) -> Any:
        """The value of a node.

        Raises:
            UserError: the values are endless, or too many.
        """
        self.room -= 16 + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
        if id(node) in self.within:
            raise UserError(self._fault(node, key, "is not valid YAML: an alias (*name) contains itself"))
        if self.room < 0:
            raise UserError(self._fault(node, key, "stands for too many values: aliases (*name) repeat too much"))
        if len(self.within) > _DEEPEST:
            raise UserError(self._fault(node, key, "lies too deep"))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != f"{_TAG}{kind}":
            self.faults.append(self._fault(node, key, f"the tag {_tag(node)} has no meaning here; leave it out"))
            return _NOTHING
        self.within.add(id(node))
        value = self._mapping(node, key) if isinstance(node, yaml.MappingNode) else self._list(node, key)
        self.within.remove(id(node))
        return value

    def _list(self, node: yaml.Node, key: Key) -> Any:
        values = [self.value(one, key) for one in node.value]
        return _NOTHING if _NOTHING in values else values

    def _mapping(self, node: yaml.MappingNode, above: Key) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, content in node.value:
            key = (*above, name.value if isinstance(name, yaml.ScalarNode) else "?")
            problem = text_fault(key[-1])
            if not isinstance(name, yaml.ScalarNode):
                problem = "a key is a word, not a list or a section"
            elif key[-1] in values:
                problem = "given twice; keep one"
            if problem:
                self.faults.append(self._fault(name, key, problem))
                continue
            if self.source:
                self.origins[key] = f"{self.source}:{name.start_mark.line + 1}"
            self.room -= len(key[-1])
            value = self.value(content, key)
            if value is not _NOTHING:
                values[key[-1]] = value
        return values

    def _scalar(self, node: yaml.ScalarNode, key: Key) -> Any:
        tag, text = node.tag.removeprefix(_TAG), node.value
        problem = ""
        if tag == "str":
            problem = text_fault(text)
        elif tag not in _SCALARS:
            problem = f"the tag {_tag(node)} has no meaning here; leave it out"
        elif not re.fullmatch(_SCALARS[tag][0], text):
            problem = f"{text[:40]!r} is no {_tag(node)}"
        elif tag == "int" and len(text) > 100:
            problem = f"a number of {len(text)} digits"
        if problem:
            self.faults.append(self._fault(node, key, problem))
            return _NOTHING
        return text if tag == "str" else _SCALARS[tag][2](text)

    def _fault(self, node: yaml.Node, key: Key, problem: str) -> str:
        place = f"{self.source}:{node.start_mark.line + 1}" if self.source else "command line"
        return ": ".join(filter(None, (place, shortened(".".join(key)), problem)))


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")[:40]


class _Loader(yaml.SafeLoader):
    """Gives scalars the tags of YAML 1.2's core schema: null, booleans and numbers; everything else is a word."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own interface)

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803
        """Begins ``[`` or ``{``; deep in others that takes PyYAML ever longer."""
        if self.flow_level > _DEEPEST:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


for _name, (_pattern, _first, _) in _SCALARS.items():
    _starts = [*_first, *([""] if _name == "null" else [])]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _starts)


class _Dumper(yaml.SafeDumper):
    """Quotes the words that :class:`_Loader` would read as something else."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers
