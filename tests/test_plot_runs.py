import json
import runpy
from itertools import pairwise

import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.conftest import ROOT, run_here


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run-$x$"
    run.mkdir()
    lines = [
        {"step": step, "train/loss": 1 / step, "train/histogram": [1, 2], "val/$_x^/psnr": None} for step in (1, 2, 3)
    ]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return run


def drawn(monkeypatch, *arguments) -> dict[str, list[list[float]]]:
    """Values of the lines of each panel, as the program hands them to its file."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    assert run_here("scripts/plot_runs.py", *arguments) == 0
    return {axes.get_title(): [[*line.get_ydata()] for line in axes.lines] for axes in figures[0].axes}


def log(folder, losses, **others):
    folder.mkdir(parents=True)
    lines = [
        {"step": step, "train/loss": value, **{f"train/{k}": v for k, v in others.items()}}
        for step, value in enumerate(losses)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_a_loss_that_a_run_does_not_have_has_no_line(tmp_path, monkeypatch, capsys):
    baseline = log(tmp_path / "baseline", [3, 2], loss_coarse=1.0, loss_refine=0.0, skipped=0)
    whole = log(tmp_path / "frih", [5, 4], loss_coarse=1.0, loss_refine=2.0)
    figures = ["--figures", "train/loss_refine", "train/skipped"]
    panels = drawn(monkeypatch, baseline, whole, "--out", tmp_path / "x.png", *figures)
    assert [panels[name] for name in figures[1:]] == [[[2.0, 2.0]], [[0, 0]]]
    assert drawn(monkeypatch, baseline, "--out", tmp_path / "x.png").keys() == {"train/loss_coarse"}
    assert run_here("scripts/plot_runs.py", baseline, "--out", tmp_path / "x.png", *figures) == 2
    assert "--figures: no run has train/loss_refine" in capsys.readouterr().err


def test_runs_differ_in_colour_and_dashes():
    styles = [*runpy.run_path(str(ROOT / "scripts/plot_runs.py"))["styles"](28)]
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 28
    assert all(first["linewidth"] > second["linewidth"] for first, second in pairwise(styles))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--smooth", "1"], [[0, 1, 2, 3, 4]]),
        (["--smooth", "2"], [[0, 1, 2, 3, 4], [0.5, 3.0]]),
        (["--smooth", "9"], [[0, 1, 2, 3, 4], [2.0]]),
        ([], [[0, 1, 2, 3, 4]]),
    ],
)
def test_smoothed_lines_lie_over_the_log(tmp_path, monkeypatch, options, expected):
    run = log(tmp_path / "run", range(5))
    (lines,) = drawn(monkeypatch, run, "--out", tmp_path / "x.png", "--figures", "train/loss", *options).values()
    assert lines == expected


def test_curves_of_a_run_that_is_still_writing(run, tmp_path):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/lo')
    figures = ["--figures", "train/loss", "val/$_x^/psnr"]
    assert run_here("scripts/plot_runs.py", run, "--out", tmp_path / "curves.png", *figures) == 0
    with Image.open(tmp_path / "curves.png") as curves:
        assert curves.width > 500


@pytest.mark.parametrize(
    ("damage", "figure", "told"),
    [
        ("\0\0\n", "train/loss", "metrics.jsonl: line 4 is damaged"),
        ('{"step": 4, "train/loss": "low"}\n', "train/loss", "metrics.jsonl: line 4 is damaged"),
        ("", "train/histogram", "--figures: no run has train/histogram"),
    ],
)
def test_what_cannot_be_drawn_is_named(run, tmp_path, capsys, damage, figure, told):
    with (run / "metrics.jsonl").open("a") as file:
        file.write(damage)
    assert run_here("scripts/plot_runs.py", run, "--out", tmp_path / "curves.png", "--figures", figure) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "curves.png").exists()
