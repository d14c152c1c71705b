"""What the documents name exists: commands, recipes, options, files, keys."""

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO

import pytest

from frih.config import Config
from frih.config.recipes import load_config
from tests.conftest import ROOT, run_here

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md"])
MAKEFILE = ROOT / "Makefile"
RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))


def commands(text: str) -> list[str]:
    """Calls of Python programs: lines of code blocks and of the comments that open a recipe, and inline code."""
    text = text.replace("\\\n#", " ").replace("\\\n", " ").replace("\t$(PY)", "python")
    lines = re.findall(r"^[# ]*((?:python|torchrun) [^`]*?)(?:\s+# .*)?$", text, re.MULTILINE)
    return [*lines, *re.findall(r"`((?:python|torchrun) [^`]+)`", text)]


def cases() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), command)
        for path in (*DOCUMENTS, *RECIPES, MAKEFILE)
        for command in commands(path.read_text())
    ]


@pytest.fixture(scope="session")
def helps() -> dict[str, str]:
    """The help of each program."""
    found = {}
    for path in (ROOT / "train.py", ROOT / "evaluate.py", *ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py")):
        program = str(path.relative_to(ROOT))
        with redirect_stdout(StringIO()) as out:
            assert run_here(program, "--help") == 0
        found[program] = out.getvalue()
    return found


def arguments(text: str) -> dict[str, str]:
    """What each option takes, read from a program's help: ``{"--predictions": "[NAME=]DIR"}``; "" is for the positionals."""
    positional = "".join(re.findall(r"^positional arguments:\n((?:  .*\n)+)", text, re.MULTILINE))
    return {"": positional, **dict(re.findall(r"^  (?:-\w.*, )?(--[\w-]+)(?: (\S+))?", text, re.MULTILINE))}


def test_there_are_commands_to_check(helps):
    found = cases()
    assert ("README.md", "python evaluate.py runs/frih") in found
    assert ("Makefile", "python evaluate.py runs/quickstart --split train") in found
    assert {"README.md", *(str(path.relative_to(ROOT)) for path in RECIPES)} <= {document for document, _ in found}
    assert arguments(helps["evaluate.py"])["--predictions"] == "[NAME=]DIR"


@pytest.mark.parametrize(("document", "command"), cases(), ids=str)
def test_commands_name_programs_recipes_options_and_keys_that_exist(document, command, helps):
    words = shlex.split(
        re.sub(r"(?<!\S)\[(.+?)\](?!\S)", r"\1", command)
    )  # without brackets around what may be left out
    if "-m" in words or "-c" in words:
        return
    program = next(word for word in words if word.endswith(".py"))
    takes, option, keys = arguments(helps[program]), "", []
    for word in words[words.index(program) + 1 :]:
        name, equals, _ = word.partition("=")
        if name.startswith("--"):
            option = name
            assert option in takes, f"{program} has no {option}"
        elif word.endswith(".yaml"):
            assert (ROOT / word).is_file()
        elif equals and ("." in name or not re.search(r"[A-Z]+=\]?[A-Z]", takes[option])):
            keys.append(word)
    assert not keys or "key.sub=value" in helps[program], f"{program} takes no keys"
    load_config(None, [word for word in keys if "..." not in word])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_files_keys_and_targets_exist(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert "://" in target or (path.parent / target).exists(), f"{path.name} links to {target}"
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    for name in re.findall(r"`([^`\s]+)`", text):
        if re.fullmatch(r"(frih|configs|scripts|tests|docs|benchmarks)/[\w./-]+", name):
            assert (ROOT / name).exists(), f"{path.name} names {name}"
        key = re.fullmatch(r"(\w+)\.(\w+)", name)
        if key and key[1] in sections and key[2] not in ("py", "yaml"):
            assert key[2] in sections[key[1]].model_fields, f"{path.name} names the key {name}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"^(?:\$ )?make ([a-z]+)|`make ([a-z]+)`", text, re.MULTILINE)
    assert {"".join(name) for name in named} <= targets


def test_the_index_names_every_page():
    index = (ROOT / "docs/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\((\w+\.md)\)", index))


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_nothing_is_left_to_do_in_a_document(path):
    assert "TODO" not in path.read_text()
