"""Contents of folders, runs of scripts, and runs that are interrupted."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_script(name, *arguments):
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def interrupted_at(part_of_name, error=KeyboardInterrupt):
    """Raises an error when a file is about to get such a name."""
    replace = Path.replace

    def replace_or_raise(path, target):
        if part_of_name in Path(target).name:
            raise error
        return replace(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace_or_raise)
        yield
