"""What one's own images need: few packages, and for the first of them no compiling."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.conftest import ROOT, ellipse, save, smooth_image

NOT_NEEDED = ("filelock", "jinja2", "lpips", "matplotlib", "numba", "scipy", "skimage", "tensorboard")
"""Packages that only training, reports and many images need."""


@pytest.fixture
def run(tmp_path):
    """Runs code in a new process, in a folder with an image and its mask; returns what it prints."""
    save(tmp_path / "composite.png", smooth_image(seed=0, width=200, height=150))
    save(tmp_path / "mask.png", ellipse(200, 150, grow=3))

    def call(code: str) -> str:
        code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_the_package_imports_next_to_nothing(run):
    """So that its import takes milliseconds."""
    printed = run(
        "before = set(sys.modules)\nimport frih\n"
        "new = {name.partition('.')[0] for name in {*sys.modules} - before}\n"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    assert printed == "['frih']\n"


@pytest.mark.parametrize("command", ["harmonize composite.png mask.png -o out.png --submasks --compare"])
def test_commands_need_few_packages(run, command, tmp_path):
    printed = run(
        f"for name in {NOT_NEEDED}:\n    sys.modules[name] = None  # not installed\n"
        f"from frih.cli import main\nsys.argv = ['frih', *{command.split()}]\nmain()"
    )
    assert "1 of 1 harmonized" in printed
    with Image.open(tmp_path / "out.png") as result:
        assert result.size == (200, 150)


def test_videos_need_only_their_extra(run):
    pytest.importorskip("av")
    run(
        f"for name in {NOT_NEEDED}:\n    sys.modules[name] = None  # not installed\n"
        "import frih.harmonizing.upsampling, frih.harmonizing.video_command, frih.harmonizing.video_files\n"
        "import frih.harmonizing.video_smoothing"
    )
