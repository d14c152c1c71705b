import json

import pytest

from frih.common.errors import UserError
from frih.common.files import locked
from frih.tools.journal import Journal

SETTINGS = {"size": 256}
TASKS = {name: name for name in ("a", "bc", "d")}


def make(folder, names):
    for name in names:
        (folder / name).write_text(name)
        yield {"photo": name, "files": {name: len(name)}}


def complete(journal, made=None):
    """Does the three tasks; returns how many were done before. ``made`` gets those that are done now."""

    def make_each(names):
        (made if made is not None else []).extend(names)
        return make(journal.folder, names)

    with journal.held("the data"):
        entries, found = journal.complete(TASKS, lambda entry: entry["photo"], make_each)
        assert [entry["photo"] for entry in entries] == list(TASKS)
        return found


def names(journal):
    return [entry["photo"] for entry in journal.read()]


def test_a_run_that_is_interrupted_and_one_that_goes_on(tmp_path):
    journal, made = Journal(tmp_path / "new/out", SETTINGS), []
    assert complete(journal) == 0
    (journal.folder / "bc").write_text("b")  # not the size that was written
    (journal.folder / "d").unlink()
    (journal.folder / ".d.1.part").write_text("half")
    with (journal.folder / "unfinished.jsonl").open("a") as file:
        file.write('{"photo": "e", "fi')
    assert names(journal) == ["a"]
    assert complete(journal, made) == 1
    assert made == ["bc", "d"]
    journal.finish(journal.read(), skipped=["e"])
    assert {path.name for path in journal.folder.iterdir()} == {*TASKS, "manifest.json"}
    manifest = json.loads((journal.folder / "manifest.json").read_text())
    assert [*manifest] == ["settings", "skipped", "photos"]
    assert manifest["settings"] == SETTINGS
    assert complete(journal) == 3
    (journal.folder / "d").unlink()
    assert complete(journal) == 2
    assert not journal.manifest.exists()
    assert names(journal) == list(TASKS)


def test_folders_of_others_are_refused(tmp_path):
    journal = Journal(tmp_path, SETTINGS)
    with locked(tmp_path / ".lock"), pytest.raises(UserError, match="is at work there"):
        complete(journal)
    for is_finished in (False, True):
        with journal.open([]):
            pass
        if is_finished:
            journal.finish([])
        with pytest.raises(UserError, match="was made with size 256, not 512; seed None, not 1; give the same"):
            Journal(tmp_path, {"size": 512, "seed": 1}).read()
        with pytest.raises(UserError, match="was made with size 256, not None"):
            Journal(tmp_path, {}).read()
    for content in ("{", "[]", '{"settings": {"size": 256}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(UserError, match=r"manifest\.json: was not written by this program"):
            journal.read()
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="holds mine, but no manifest"):
        journal.read()
    with pytest.raises(UserError, match="mine: is a file"):
        complete(Journal(tmp_path / "mine", SETTINGS))


def test_what_cannot_be_written_is_named(tmp_path):
    with (
        pytest.raises(UserError, match=r"the data cannot be written there \(No space"),
        Journal(tmp_path, SETTINGS).held("the data"),
    ):
        raise OSError("No space left on device")
