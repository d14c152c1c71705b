"""The Dockerfile without an engine: what it copies is there, and it installs what the Makefile installs."""

import re
from fnmatch import fnmatchcase

import pytest

from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a file into the image: the last pattern that names it or a folder above it decides."""
    sent, parts = True, path.split("/")
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        anywhere, name = pattern.startswith("**/"), pattern.removeprefix("**/")
        above = parts if anywhere else ["/".join(parts[: i + 1]) for i in range(len(parts))]
        if pattern and any(one.count("/") == name.count("/") and fnmatchcase(one, name) for one in above):
            sent = line.startswith("!")
    return sent


def installed(text: str) -> list[set[str]]:
    """The words of each ``pip install``, but for those on its output and its cache."""
    calls = re.findall(r"-m pip install (.+?)(?: \\)?$", text, re.MULTILINE)
    return [set(call.split()) - {"--quiet", "--disable-pip-version-check", "--no-cache-dir"} for call in calls]


def test_it_installs_what_the_makefile_installs():
    assert installed(DOCKERFILE) == installed((ROOT / "Makefile").read_text())
    assert len(installed(DOCKERFILE)) == 2
    assert "touch .venv/.installed" in DOCKERFILE  # so that make does not install again


def test_what_it_copies_is_there_and_sent():
    sources = [word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[1:-1]]
    assert sources == ["requirements.lock", "."]
    needed = ["Makefile", "pyproject.toml", "README.md", "LICENSE", "requirements.lock", "data/README.md"]
    folders = ["frih", "tests", "docs", "configs", "scripts", "benchmarks"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    needed += [str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts]
    assert [path for path in needed if not (ROOT / path).is_file() or not is_sent(path)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/HEAD",
        ".venv/bin/python",
        "runs/frih/config.yaml",
        "outputs/report.html",
        "data/iHarmony4/HCOCO/x.jpg",
        "frih/__pycache__/cli.pyc",
        "frih.egg-info/PKG-INFO",
        "tests/.mypy_cache/x",
    ],
)
def test_what_is_large_or_private_is_not_sent(path):
    assert not is_sent(path)
