import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """Runs the program on a foreground of two colours and returns its status, its output and its file."""
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, :12], image[:, 12:] = [200, 30, 30], [20, 60, 220]
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(np.full((30, 40), 255, np.uint8)).save(tmp_path / "mask.png")

    def run(*options):
        out = tmp_path / "out.png"
        words = [tmp_path / "image.png", tmp_path / "mask.png", "--out", out, "--size", "0", *options]
        monkeypatch.setattr(sys, "argv", ["show_submasks.py", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts/show_submasks.py"), run_name="__main__")
        return caught.value.code, capsys.readouterr(), out

    return run


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], "cutoff 0.1: 2 submasks (70.0%, 30.0%)\n"),
        (["--method", "gamma"], "gamma, cutoff 0.1: 2 submasks (70.0%, 30.0%)\n"),
        (["--method", "kmeans"], "k-means 8: 2 submasks (70.0%, 30.0%)\n"),
        (
            ["--method", "kmeans", "--clusters", "1", "2"],
            "k-means 1: 1 submask (100.0%)\nk-means 2: 2 submasks (70.0%, 30.0%)\n",
        ),
    ],
)
def test_each_method_is_drawn(show, options, printed):
    status, output, out = show(*options)
    assert (status, output.out) == (0, printed)
    with Image.open(out) as drawn:
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20


def test_options_that_cannot_be(show):
    status, output, _ = show("--method", "kmeans", "--clusters", "0")
    assert status == 2
    assert output.err.startswith("error: --clusters: must be an integer from 1 to 255")
