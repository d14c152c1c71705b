"""Words of a command line: which are paths, and which are overrides."""

from pathlib import Path

import pytest

from frih.common.errors import UserError
from frih.config.words import is_override, named_folders, split_words, taken_for_keys


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """Where a run, a recipe and other folders have names with ``=``."""
    monkeypatch.chdir(tmp_path)
    for name in ("lr=0.1", "runs/lr=0.01", "train.lr=0.5"):
        Path(name).mkdir(parents=True)
    for name in ("lr=1.yaml", "seed=1.yaml"):
        Path(name).touch()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("train.lr=0.01", True),
        ("data.root=a/b=c", True),
        ("data.root=recipe.yaml", True),
        ("run=runs/lr=0.01", True),
        ("model.arguments.depth=3", True),
        ("data={root: x}", True),
        ("train.lr=0.5", True),  # a folder of that name is there: write ./train.lr=0.5
        ("lr=0.5", True),  # a mistyped key, and nothing else
        ("data.rot=x", True),
        ("nonsense=" + "x" * 5000, True),
        ("runs/frih", False),
        ("runs/lr=0.01", False),
        ("runs/lr=0.02/checkpoints/last.pt", False),  # there or not
        ("./train.lr=0.5", False),
        ("/a=b", False),
        ("~/a=b", False),
        ("hf://user/a=b", False),
        ("lr=0.1", False),  # is there
        ("lr=1.yaml", False),
        ("seed=1.yaml", False),  # a recipe that is there, though its name begins as a key
        ("lr=2.yaml", False),  # not there, but no key has such a name: a mistyped recipe
        ("lr=2.safetensors", False),
        ("train.init_form=runs/a/checkpoints/last.pt", True),  # a mistyped key
    ],
)
def test_overrides_and_paths(word, expected):
    assert is_override(word) is expected


def test_paths_keep_their_order_and_know_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words = ["~/a=b", "seed=1", "c", "data.root=~/d"]
    assert split_words(words) == ([Path("/home/me/a=b"), Path("c")], ["seed=1", "data.root=~/d"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ours=out/lr=0.01", {"ours": "out/lr=0.01"}),
        ("out/lr=0.01", {"lr=0.01": "out/lr=0.01"}),
        ("lr=0.1", {"lr=0.1": "lr=0.1"}),  # is there
        ("lr=0.2", {"lr": "0.2"}),
        ("b/out ours=a out", None),
        ("b/out ours=a", {"out": "b/out", "ours": "a"}),
        ("ours=~/out ~/a", {"ours": "/home/me/out", "a": "/home/me/a"}),
        ("a=b a=c", None),
        ("=b", None),
    ],
)
def test_folders_with_names(monkeypatch, words, expected):
    monkeypatch.setenv("HOME", "/home/me")
    if expected is None:
        with pytest.raises(UserError, match=r"^--of (out|a=c|=b): .*name"):
            named_folders(words.split(), "--of ")
    else:
        assert named_folders(words.split()) == {name: Path(folder) for name, folder in expected.items()}


def test_folders_without_a_name_may_be_named_by_the_caller():
    named = named_folders(["x/out", "ours=a", "y/out"], others=lambda folders: [folder.parts[0] for folder in folders])
    assert named == {"x": Path("x/out"), "ours": Path("a"), "y": Path("y/out")}


def test_the_way_out_for_a_folder_that_is_called_like_a_key():
    assert taken_for_keys(["seed=1", "train.lr=0.5"]) == (
        "; train.lr=0.5 is taken for a key: write ./train.lr=0.5 for the file or folder"
    )
    assert taken_for_keys(["seed=1"]) == ""
