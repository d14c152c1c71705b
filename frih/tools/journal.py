"""What a long run has written so far, so that a run that was stopped can go on: first a journal, in the end a manifest.

::

    <folder>/unfinished.jsonl    settings in the first line, then an entry for each task that is done
    <folder>/manifest.json       the same and whatever else is worth keeping; written last, in place of the journal

An entry is a dictionary for JSON. Its ``"files"`` are the files that the task wrote, by path below the folder, with their sizes
in bytes.

::

    journal = Journal(folder, settings)
    with journal.held("the data set"):
        entries, found = journal.complete(tasks, lambda entry: entry["photo"], make)
        journal.finish(entries)
"""

import json
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from frih.common.errors import UserError
from frih.common.files import is_part, locked, write_whole

MANIFEST, JOURNAL, LOCK = "manifest.json", "unfinished.jsonl", ".lock"

Entry = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)
Task = TypeVar("Task")


class Journal:
    """The journal or manifest of a folder.

    Args:
        folder: where the run writes.
        settings: all that decides what is written there, for JSON; a folder made with other settings is refused.
        key: the manifest's key for the entries.
        manifest: its file name.
        journal: its file name.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        *,
        key: str = "photos",
        manifest: str = MANIFEST,
        journal: str = JOURNAL,
    ) -> None:
        self.folder, self.settings, self.key = folder, settings, key
        self.manifest, self.journal = folder / manifest, folder / journal

    @contextmanager
    def held(self, what: str) -> Iterator[None]:
        """Makes the folder, and keeps other runs out of it until the ``with`` block ends.

        Raises:
            UserError: it is a file, another run is at work there, or an ``OSError`` of the block says that ``what`` cannot be
                written there.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: is a file; give a folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / LOCK):
                yield
        except OSError as error:
            raise UserError(f"{self.folder}: {what} cannot be written there ({error})") from error

    def complete(
        self,
        tasks: Mapping[Key, Task],
        key: Callable[[Entry], Key],
        make: Callable[[list[Task]], Iterable[Entry]],
    ) -> tuple[list[Entry], int]:
        """Does the tasks that are not done yet.

        Args:
            tasks: by the key of their entry.
            key: the key of an entry.
            make: yields an entry for each of the tasks that it is given, in their order. It is not called without tasks.

        Returns:
            An entry for each task, in their order, and how many tasks were done before.

        Raises:
            UserError: as :meth:`read`.
        """
        done = {key(entry): entry for entry in self.read()}
        missing = [task for name, task in tasks.items() if name not in done]
        if missing:
            with self.open(list(done.values())) as add:
                for entry in make(missing):
                    add(entry)
                    done[key(entry)] = entry
        return [done[name] for name in tasks], len(tasks) - len(missing)

    def read(self) -> list[Entry]:
        """The entries of what is done, without those whose files are missing or have another size.

        Raises:
            UserError: the folder holds something else, or was made with other settings.
        """
        state = self._read_journal() or self._read_manifest()
        if not state:
            self._refuse_strangers()
            return []
        settings, entries = state
        self._refuse_others(settings)
        return [entry for entry in entries if self._is_whole(entry)]

    @contextmanager
    def open(self, done: Collection[Entry]) -> Iterator[Callable[[Entry], None]]:
        """Begins or continues the journal; yields the function that adds an entry.

        The manifest is removed, and so are the half-written files of a killed run.
        """
        for path in [path for path in self.folder.rglob(".*") if is_part(path)]:
            path.unlink(missing_ok=True)
        write_whole(self.journal, "".join(json.dumps(line) + "\n" for line in (self.settings, *done)))
        self.manifest.unlink(missing_ok=True)
        with self.journal.open("a", encoding="utf-8") as file:

            def add(entry: Entry) -> None:
                file.write(json.dumps(entry) + "\n")
                file.flush()

            yield add

    def finish(self, entries: Collection[Entry], **more: Any) -> None:
        """Writes the manifest, with ``more`` in it, and removes the journal."""
        manifest = {"settings": self.settings, **more, self.key: list(entries)}
        write_whole(self.manifest, json.dumps(manifest, indent=1) + "\n")
        self.journal.unlink(missing_ok=True)

    def _read_journal(self) -> tuple[dict[str, Any], list[Entry]] | None:
        lines = []
        with suppress(FileNotFoundError):
            for line in self.journal.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError):  # the run was killed while it wrote this line
                    lines.append(json.loads(line))
        return (lines[0], lines[1:]) if lines else None

    def _read_manifest(self) -> tuple[dict[str, Any], list[Entry]] | None:
        try:
            manifest = json.loads(self.manifest.read_text(encoding="utf-8"))
            return manifest["settings"], manifest[self.key]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{self.manifest}: was not written by this program; give another folder") from None

    def _refuse_others(self, old: dict[str, Any]) -> None:
        keys = dict.fromkeys((*self.settings, *old))
        pairs = [(key, old.get(key), self.settings.get(key)) for key in keys]
        parts = [f"{key} {theirs}, not {ours}" for key, theirs, ours in pairs if theirs != ours]
        if parts:
            raise UserError(f"{self.folder}: was made with {'; '.join(parts)}; give the same again, or another folder")

    def _refuse_strangers(self) -> None:
        for path in sorted(self.folder.iterdir()):
            if path.name != LOCK and not is_part(path):
                raise UserError(
                    f"{self.folder}: holds {path.name}, but no {self.manifest.name} of this program; "
                    "give an empty or new folder"
                )

    def _is_whole(self, entry: Entry) -> bool:
        try:
            return all((self.folder / name).stat().st_size == size for name, size in entry["files"].items())
        except FileNotFoundError:
            return False
