"""What a long run has written so far, so that it goes on where it was stopped: a journal while it runs, a manifest in the end.

::

    <folder>/unfinished.jsonl    settings in the first line, then an entry for each piece of work that is done
    <folder>/manifest.json       the same, and whatever else is worth keeping; written last, when the journal goes

An entry is a dictionary for JSON. Its ``"files"`` are what was written, by path from the folder on, with their sizes in bytes.

::

    journal = Journal(folder, settings)
    with journal.held():
        done = journal.read()
        with journal.open(done) as add:
            for entry in map(make, missing_tasks(done)):
                add(entry)
        journal.finish(all_entries)
"""

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from frih.common.errors import UserError
from frih.common.files import is_part, locked, write_whole

MANIFEST, JOURNAL, LOCK = "manifest.json", "unfinished.jsonl", ".lock"

Entry = dict[str, Any]


class Journal:
    """The journal or manifest of a folder.

    Args:
        folder: where the run writes.
        settings: all that decides what is written there, for JSON; a folder made with others is refused.
        key: under which the manifest has the entries.
        manifest: its name.
        journal: its name.
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

    @property
    def is_finished(self) -> bool:
        """Whether the manifest is there."""
        return self.manifest.exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder, and keeps other runs out of it until the ``with`` block ends.

        Raises:
            UserError: it is a file, or another run is at work there.
            OSError: it cannot be made or written to.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder}: is a file; give a folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK):
            yield

    def read(self) -> list[Entry]:
        """Entries of what is done already, as far as their files are there.

        Raises:
            UserError: the folder holds something else, or was made with other settings.
        """
        for read in (self._read_journal, self._read_manifest):
            state = read()
            if state:
                self._refuse_others(state[0])
                return [entry for entry in state[1] if self._is_whole(entry)]
        self._refuse_strangers()
        return []

    @contextmanager
    def open(self, done: Collection[Entry]) -> Iterator[Callable[[Entry], None]]:
        """Begins, or goes on: what is yielded adds an entry.

        The manifest is removed, and so is what a killed run left half written.
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
        try:
            text = self.journal.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        lines = []
        for line in text.splitlines():
            with suppress(ValueError):  # a line that was being written when the run was killed
                lines.append(json.loads(line))
        return (lines[0], lines[1:]) if lines else None

    def _read_manifest(self) -> tuple[dict[str, Any], list[Entry]] | None:
        path = self.manifest
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            return manifest["settings"], manifest[self.key]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: is none of this program's; give another folder") from None

    def _refuse_others(self, old: dict[str, Any]) -> None:
        keys = dict.fromkeys((*self.settings, *old))
        pairs = [(key, old.get(key), self.settings.get(key)) for key in keys]
        parts = [f"{key} {theirs}, not {ours}" for key, theirs, ours in pairs if theirs != ours]
        if parts:
            raise UserError(f"{self.folder}: was made with {'; '.join(parts)}; give the same again, or another folder")

    def _refuse_strangers(self) -> None:
        paths = sorted(self.folder.iterdir())
        strangers = [path.name for path in paths if path.name != LOCK and not is_part(path)]
        if strangers:
            raise UserError(
                f"{self.folder}: holds {strangers[0]}, but no {self.manifest.name} of this program; give an empty or new folder"
            )

    def _is_whole(self, entry: Entry) -> bool:
        try:
            return all((self.folder / name).stat().st_size == size for name, size in entry["files"].items())
        except FileNotFoundError:
            return False
