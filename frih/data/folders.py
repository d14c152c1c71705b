"""The files of a folder, found by names that may be written another way."""

import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from frih.common.errors import UserError
from frih.common.files import AnyPath, by_stem
from frih.data.images import is_image_name, readable_first


class Folder:
    """The names of a folder's files.

    A name with accents, as "café", has several forms in Unicode, and macOS writes another one than most lists. A name that is
    not there in its own form is looked for in the others.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def find(self, name: str) -> str | None:
        """The file of a name; None if there is none, or several in other forms."""
        if name in self.names:
            return name
        found = self._by_form.get(form(name), [])
        return found[0] if len(found) == 1 else None

    def of_stem(self, stem: str) -> list[str]:
        """The images with this name, whatever their suffix."""
        return readable_first(self._stems.get(stem) or self._by_form_of_stem.get(form(stem), []))

    def hint(self, *stems: str) -> str:
        """As " (the folder holds A.png)": images whose names differ in suffix or capitals from one that is not there."""
        found = [name for stem in dict.fromkeys(stems) for name in self._by_letters.get(letters(stem), [])]
        return f" (the folder holds {' and '.join(found[:2])})" if found else ""

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        return by_stem(name for name in self.names if is_image_name(name))

    @cached_property
    def _by_form(self) -> dict[str, list[str]]:
        return grouped(self.names, form)

    @cached_property
    def _by_form_of_stem(self) -> dict[str, list[str]]:
        return grouped((name for names in self._stems.values() for name in names), lambda name: form(Path(name).stem))

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        return grouped(
            (name for names in self._stems.values() for name in names), lambda name: letters(Path(name).stem)
        )


def list_folder(folder: Path) -> set[str]:
    """The names of a folder's files.

    Raises:
        UserError: it is missing, or cannot be read.
    """
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        why = "is a link to nothing" if is_broken_link(folder) else "no such folder"
    except NotADirectoryError:
        why = "is no folder"
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); give the right to read it") from None
    raise UserError(f"{folder}: {why}; a subset holds composite_images/, masks/ and real_images/")


def is_broken_link(path: Path) -> bool:
    """Whether a path is a link to something that is not there."""
    return path.is_symlink() and not path.exists()


def grouped(names: Iterable[AnyPath], key: Callable[[AnyPath], str]) -> dict[str, list[AnyPath]]:
    """Names or paths by a key, sorted."""
    groups: dict[str, list[AnyPath]] = {}
    for name in sorted(names):
        groups.setdefault(key(name), []).append(name)
    return groups


def form(name: str) -> str:
    """A name in one form of Unicode: macOS writes letters with accents in another than other systems."""
    return unicodedata.normalize("NFC", name)


def letters(name: str) -> str:
    """A name in one form, without regard to capitals."""
    return form(name).casefold()
