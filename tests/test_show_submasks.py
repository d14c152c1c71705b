import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from frih.submasks import extract_submasks

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
        (["--method", "random", "--clusters", "1"], "random 1: 1 submask (100.0%)\n"),
        (["--method", "whole"], "whole: 1 submask (100.0%)\n"),
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


def test_parts_at_random_are_those_of_the_training():
    program = runpy.run_path(str(ROOT / "scripts/show_submasks.py"))
    composite, mask = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8), np.ones((20, 20), bool)
    one = program["by_place"](composite, mask, method="random", clusters=5)
    labels = extract_submasks(composite, mask, method="random", clusters=5)
    assert (one.labels == labels[mask]).all()
    assert one.centers == pytest.approx(np.array([composite[labels == label].mean(axis=0) for label in range(1, 6)]))


@pytest.mark.parametrize("options", [[], ["--cutoffs", "0.1", "0.2"], ["--size", "64"]])
def test_the_image_keeps_its_shape(show, monkeypatch, options):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    assert show(*options)[0] == 0
    figures[0].draw_without_rendering()
    images = [axes for axes in figures[0].axes if axes.images]
    assert len(images) >= 2
    for axes in images:
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(40 / 30, rel=0.01)
