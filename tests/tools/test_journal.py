import json

import pytest

from frih.common.errors import UserError
from frih.common.files import locked
from frih.tools.journal import Journal

SETTINGS = {"size": 256}


def entry(folder, name):
    (folder / name).write_text(name)
    return {"photo": name, "files": {name: len(name)}}


def names(journal):
    return [item["photo"] for item in journal.read()]


def test_a_run_that_is_interrupted_and_one_that_goes_on(tmp_path):
    journal = Journal(tmp_path / "new/out", SETTINGS)
    with journal.held(), journal.open([]) as add:
        add(entry(journal.folder, "a"))
        add(entry(journal.folder, "bc"))
        add(entry(journal.folder, "d"))
    (journal.folder / "bc").write_text("b")  # another size than was written
    (journal.folder / "d").unlink()
    (journal.folder / ".d.1.part").write_text("half")
    with (journal.folder / "unfinished.jsonl").open("a") as file:
        file.write('{"photo": "e", "fi')
    with journal.held():
        assert names(journal) == ["a"]
        assert not journal.is_finished
        with journal.open(journal.read()) as add:
            add(entry(journal.folder, "bc"))
        assert names(journal) == ["a", "bc"]
        journal.finish(journal.read(), skipped=["d"])
    assert journal.is_finished
    assert {path.name for path in journal.folder.iterdir()} == {"a", "bc", "manifest.json"}
    manifest = json.loads((journal.folder / "manifest.json").read_text())
    assert [*manifest] == ["settings", "skipped", "photos"]
    assert manifest["settings"] == SETTINGS
    assert names(journal) == ["a", "bc"]
    with journal.open(journal.read()):
        assert not journal.is_finished
        assert names(journal) == ["a", "bc"]


def test_folders_of_others_are_refused(tmp_path):
    journal = Journal(tmp_path, SETTINGS)
    with locked(tmp_path / ".lock"), pytest.raises(UserError, match="is at work there"), journal.held():
        pass
    journal.finish([])
    with pytest.raises(UserError, match="was made with size 256, not 512; seed None, not 1; give the same"):
        Journal(tmp_path, {"size": 512, "seed": 1}).read()
    with pytest.raises(UserError, match="was made with size 256, not None"):
        Journal(tmp_path, {}).read()
    for content in ("{", "[]", '{"settings": {"size": 256}}'):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(UserError, match=r"manifest\.json: is none of this program's"):
            journal.read()
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UserError, match="holds mine, but no manifest"):
        journal.read()
    with pytest.raises(UserError, match="mine: is a file"), Journal(tmp_path / "mine", SETTINGS).held():
        pass
