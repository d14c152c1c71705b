import json

import pytest
from PIL import Image

from tests.conftest import run_here


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "run-$x$"
    run.mkdir()
    lines = [
        {"step": step, "train/loss": 1 / step, "train/histogram": [1, 2], "val/$_x^/psnr": None} for step in (1, 2, 3)
    ]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return run


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
