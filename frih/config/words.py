"""The words of a command line: paths of recipes and runs, and overrides ``key.sub=value``. A path may hold ``=``, too."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from frih.common.errors import UserError
from frih.common.paths import at_home
from frih.config.recipes import is_key

_FILES = (".yaml", ".yml", ".pt", ".safetensors")
"""Suffixes of recipes and weights."""


def split_words(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The paths among some words, with the home folder for ``~``, and the overrides.

    Raises:
        UserError: a path begins with the ``~`` of no user.
    """
    paths = [Path(at_home(word)) for word in words if not is_override(word)]
    return paths, [word for word in words if is_override(word)]


def is_override(word: str) -> bool:
    """Whether a word is ``key.sub=value``. A path with ``=`` can always be told from one by ``./`` before it.

    It is one if a key of that name is known. Otherwise it is a path if it holds a slash before the ``=``, exists, or ends as
    recipes and weights do without a dot before the ``=``; what remains is an override with a mistyped key.
    """
    key, equals, _ = word.partition("=")
    is_file = word.endswith(_FILES)
    if not equals or (is_file and os.path.isfile(word)):  # noqa: PTH113  (a word may be too long for a path)
        return False
    if is_key(key.strip()):
        return True
    in_folder = any(separator in key for separator in (os.sep, os.altsep) if separator)
    return not (in_folder or (is_file and "." not in key) or os.path.exists(word))  # noqa: PTH110


def named_folders(
    words: Sequence[str], option: str = "", others: Callable[[Sequence[Path]], Iterable[str]] | None = None
) -> dict[str, Path]:
    """Folders by name, in their order, of words ``NAME=DIR`` or ``DIR``, as ``ours=outputs/lr=0.01``.

    Args:
        words: of a command line.
        option: which takes them, for messages.
        others: from all folders to a name for each, which those without one take; by default the last part of the path.

    Raises:
        UserError: a word begins with ``=``, or a name is there twice.
    """
    split = [_named_folder(word) for word in words]
    names = [name for name, _ in split]
    if not all(names):
        named = (others or _last_parts)([folder for _, folder in split])
        names = [given or own for given, own in zip(names, named, strict=True)]
    folders: dict[str, Path] = {}
    for word, name, (_, folder) in zip(words, names, split, strict=True):
        if word.startswith("=") and not os.path.isdir(word):  # noqa: PTH112
            raise UserError(f"{option}{word}: needs a name before the =")
        if name in folders:
            raise UserError(f"{option}{word}: {name} is there already; give another name as NAME=DIR")
        folders[name] = folder
    return folders


def taken_for_keys(overrides: Sequence[str]) -> str:
    """A hint for people whose folder has the name of an override; empty if there is none."""
    found = [word for word in overrides if os.path.exists(word)]  # noqa: PTH110
    return f"; {found[0]} is taken for a key: write ./{found[0]} for the file or folder" if found else ""


def _named_folder(word: str) -> tuple[str, Path]:
    """The name, empty for a folder alone, and the folder."""
    name, equals, folder = word.partition("=")
    if not equals or "/" in name or os.path.isdir(word):  # noqa: PTH112
        return "", Path(at_home(word))
    return name, Path(at_home(folder))


def _last_parts(folders: Sequence[Path]) -> list[str]:
    return [folder.resolve().name for folder in folders]
