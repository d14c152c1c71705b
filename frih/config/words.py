"""The words of a command line: paths of recipes and runs, and overrides ``key.sub=value``. A path may hold ``=``, too."""

import os
from collections.abc import Sequence
from pathlib import Path

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


def named_folder(word: str) -> tuple[str, str]:
    """Name and folder of ``NAME=DIR``; the name is empty if the word is a folder alone, as ``outputs/lr=0.01``."""
    name, equals, folder = word.partition("=")
    if not equals or "/" in name or os.path.isdir(word):  # noqa: PTH112
        return "", at_home(word)
    return name, at_home(folder)


def taken_for_keys(overrides: Sequence[str]) -> str:
    """A hint for people whose folder has the name of an override; empty if there is none."""
    found = [word for word in overrides if os.path.exists(word)]  # noqa: PTH110
    return f"; {found[0]} is taken for a key: write ./{found[0]} for the file or folder" if found else ""
