"""What the documents name exists: commands, recipes, options, files, keys."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from frih.config import Config
from frih.config.recipes import load_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md"])
RECIPES = sorted((ROOT / "configs").rglob("*.yaml"))
PROGRAMS = [
    "train.py",
    "evaluate.py",
    *(str(path.relative_to(ROOT)) for folder in ("scripts", "benchmarks") for path in (ROOT / folder).glob("*.py")),
]


def commands(text: str) -> list[str]:
    """Calls of Python programs: lines of code blocks and of the comments that open a recipe, and inline code."""
    text = text.replace("\\\n#", " ").replace("\\\n", " ")
    lines = re.findall(r"^[# ]*((?:python|torchrun) [^`]*?)(?:\s+# .*)?$", text, re.MULTILINE)
    return [*lines, *re.findall(r"`((?:python|torchrun) [^`]+)`", text)]


def cases() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), command)
        for path in (*DOCUMENTS, *RECIPES)
        for command in commands(path.read_text())
    ]


def test_there_are_commands_to_check():
    found = cases()
    assert ("README.md", "python evaluate.py runs/frih") in found
    assert {"README.md", *(str(path.relative_to(ROOT)) for path in RECIPES)} <= {document for document, _ in found}


@pytest.mark.parametrize(("document", "command"), cases(), ids=str)
def test_commands_name_programs_recipes_and_options_that_exist(document, command, options):
    words = command.split()
    if "-m" in words or "-c" in words:
        return
    program = next(word for word in words if word.endswith(".py"))
    assert (ROOT / program).is_file()
    after = words[words.index(program) + 1 :]
    for word in after:
        if word.startswith("--"):
            assert word.split("=")[0] in options[program], f"{program} has no {word}"
        elif word.endswith(".yaml"):
            assert (ROOT / word).is_file()
    # folders of predictions, and photos of a category
    named = [word for word in after if re.fullmatch(r"[a-z]+=(DIR2?|\d+)", word)]
    keys = [word for word in after if re.match(r"[a-z_.]+=", word) and word not in named]
    overrides = [re.sub(r"=(DIR|\.\.\.|/\S*)$", "=x", word) for word in keys]
    load_config(None, [word for word in overrides if "..." not in word])


@pytest.fixture(scope="session")
def options() -> dict[str, str]:
    """The help of each program."""
    helps = {}
    for program in PROGRAMS:
        done = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        helps[program] = done.stdout
    return helps


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path):
    for target in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_keys_named_in_code_style_exist(path):
    sections = {name: field.annotation for name, field in Config.model_fields.items()}
    for name in re.findall(r"`([^`\s]+)`", path.read_text()):
        if re.fullmatch(r"(frih|configs|scripts|tests|docs|benchmarks)/[\w./-]+", name):
            assert (ROOT / name).exists(), f"{path.name} names {name}"
        key = re.fullmatch(r"(\w+)\.(\w+)", name)
        if key and key[1] in sections and key[2] not in ("py", "yaml"):
            assert key[2] in sections[key[1]].model_fields, f"{path.name} names the key {name}"


def test_every_target_named_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        for name in re.findall(r"^(?:\$ )?make ([a-z]+)|`make ([a-z]+)`", path.read_text(), re.MULTILINE):
            assert "".join(name) in targets
