"""Text for a terminal: how many columns it takes, and lines that fit."""

import shutil
import unicodedata
from collections.abc import Callable

PIPED = 120
"""Columns of a line where there is no terminal, as in a pipe or a log."""


def terminal_width() -> int:
    """Columns of the terminal, or of ``COLUMNS`` where the environment has it; :data:`PIPED` without a terminal."""
    return shutil.get_terminal_size((PIPED, 24)).columns


def columns_of(text: str) -> int:
    """Columns that a terminal gives to printable text: two to an East Asian wide character, none to a combining one."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def padded(text: str, width: int, to: Callable[[str, int], str] = str.ljust) -> str:
    """Text filled with spaces up to a width in columns; ``to`` is ``str.ljust``, ``str.rjust`` or ``str.center``."""
    return to(text, width - columns_of(text) + len(text))


def shortened(text: str, width: int) -> str:
    """Text of at most so many columns; where it is longer, ``…`` stands for its middle."""
    if columns_of(text) <= width:
        return text
    head, tail = text, text
    while columns_of(head) > (width - 1) // 2:
        head = head[:-1]
    while columns_of(head + tail) > width - 1:
        tail = tail[1:]
    return f"{head}…{tail}"


def wrapped(text: str, width: int | None = None) -> str:
    """Text whose lines are broken between words; a word that is longer than a line stays whole.

    Args:
        text: of one line or several, which stay apart.
        width: of a line in columns; by default the terminal's.
    """
    width = width or terminal_width()
    lines: list[str] = []
    for paragraph in text.split("\n"):
        first, *words = paragraph.split(" ")
        lines.append(first)
        for word in words:
            if not lines[-1].strip() or columns_of(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return "\n".join(lines)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
