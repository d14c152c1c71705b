"""What the makers of data sets are tested with: contents of folders, runs of scripts, and runs that break off."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run_script(name, *arguments):
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def break_off(monkeypatch, part_of_name, error=KeyboardInterrupt):
    """Raises an error when a file is about to get such a name."""
    replace = Path.replace

    def replace_or_raise(path, target):
        if part_of_name in Path(target).name:
            raise error
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_or_raise)
