"""List files of a data set: the composites that they name, and of which subset each is."""

from collections.abc import Collection
from pathlib import Path

from frih.common.errors import UserError
from frih.data.images import is_image_name


def read_entries(path: Path, subsets: Collection[str]) -> list[tuple[str, str]]:
    """The (subset, file name) of each line of a common list; see :func:`parse_line`.

    Raises:
        UserError: it cannot be read.
    """
    return [parse_line(line, subsets) for line in read_lines(path)]


def parse_line(line: str, subsets: Collection[str] = ()) -> tuple[str, str]:
    """The (subset, file name) of a line, such as ``D:/iHarmony4/HCOCO/composite_images/c1_1_1.jpg``.

    The subset is the folder that holds ``composite_images``, whatever stands before it. Without that folder in the line, it is
    the last folder that is one of ``subsets``, or else the last one; empty where there is none.
    """
    *folders, name = [part for part in line.split("/") if part not in ("", ".")] or [""]
    if "composite_images" in folders[1:]:
        end = len(folders) - folders[::-1].index("composite_images") - 1
        return folders[end - 1], name
    known = [folder for folder in folders if folder in subsets]
    return next(reversed(known or folders), ""), name


def read_lines(path: Path) -> list[str]:
    """The lines of a list file that are neither empty nor comments (``# made by hand``).

    Raises:
        UserError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of file names ({error}); it must be text in UTF-8") from None
    lines = [line.strip().replace("\\", "/") for line in text.splitlines()]
    return [line for line in lines if line and not (line.startswith("#") and not is_image_name(line))]


def why_nothing(path: Path, subset: str) -> str:
    """A sentence for people: why a list names no composite of a subset.

    Raises:
        UserError: it cannot be read.
    """
    lines = read_lines(path)
    if not lines:
        return f"names no composite of {subset}: it is empty"
    return (
        f"names no composite of {subset}: no line has {subset}/composite_images/ in front of a file's name; the first is "
        f"{lines[0]!r}"
    )
