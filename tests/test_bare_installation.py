"""What works where only `pip install .` was run, and what the other programs say."""

import os
import re
import subprocess
import sys

from tests.conftest import ROOT

BARE = """
import runpy, sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("matplotlib", "scipy", "skimage", "tensorboard", "gradio", "onnx", "lpips", "sklearn"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Lacking())
for program in map(Path, sys.argv[1:]):
    sys.argv = [str(program), "--help"]
    print(program, file=sys.stderr)
    try:
        with redirect_stdout(StringIO()):
            runpy.run_path(str(program), run_name="__main__")
    except SystemExit as end:
        assert end.code in (0, 2), program
"""
FREE = "check_data check_resume compare_commits demo harmonize pack_photos prepare"
"""Programs in scripts/ whose own packages are all that they need."""


def test_programs_work_or_name_the_extra():
    programs = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.py"), *ROOT.glob("scripts/*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", BARE, *sorted(programs), "frih/__main__.py"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, list[str]] = {}
    for line in done.stderr.splitlines():
        if line.endswith(".py"):
            lines = said[line] = []
        else:
            lines.append(line)
    free = {f"scripts/{name}.py" for name in FREE.split()}
    assert {program for program, lines in said.items() if not lines} == {*free, "frih/__main__.py"}
    for program, lines in said.items():
        for line in lines:
            assert re.fullmatch(r'error: \w+: not installed; pip install "\.\[train\]"', line), program
