"""The programs as a user runs them, and what they say when something is wrong."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih.config import Config
from frih.config.recipes import to_yaml
from tests.conftest import SMALL, make_dataset

ROOT = Path(__file__).parents[1]


def run(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess:
    """Runs a Python program of the repository; paths of programs are relative to it."""
    program, *rest = map(str, arguments)
    return subprocess.run(
        [sys.executable, ROOT / program, *rest],
        cwd=folder or ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a dataset and a trained run."""

    place = tmp_path_factory.mktemp("place")
    dataset = make_dataset(place / "dataset")
    tree = {**SMALL, "data": {**SMALL["data"], "root": str(dataset)}, "run": str(place / "run")}
    (place / "recipe.yaml").write_text(to_yaml(Config.model_validate_json(json.dumps(tree))))
    done = run("train.py", place / "recipe.yaml")
    assert done.returncode == 0, done.stderr
    assert "10 composites of" in done.stdout
    assert done.stdout.splitlines()[-1] == f"{place / 'run'}: step 2 of 2, complete"
    return place


@pytest.fixture
def refusal(monkeypatch, capsys):
    """The one line that a program prints before it exits with status 2; in this process, for speed."""

    def run_here(program: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [program, *map(str, arguments)])
        monkeypatch.syspath_prepend(ROOT)
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        assert caught.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        return lines[0]

    return run_here


def test_evaluating_a_run(place):
    done = run("evaluate.py", place / "run")
    assert done.returncode == 0, done.stderr
    assert "Input composite" in done.stdout
    assert "protocol idih" in done.stdout
    out = place / "run/evaluation/test"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["about"]["checkpoint"] == str(place / "run/checkpoints/last.pt")
    assert summary["about"]["step"] == 2
    assert summary["subsets"]["All"]["images"] == 2
    assert len((out / "rows.csv").read_text().splitlines()) == 3
    with Image.open(out / "images.png") as sheet:
        assert sheet.width > 6 * 128


def test_evaluating_other_checkpoints_splits_and_folders(place, tmp_path):
    done = run("evaluate.py", place / "run/checkpoints/best.pt", "--split", "train", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/summary.json").read_text())["images"] == 10


def test_evaluating_composites_and_predictions(place, tmp_path):
    root = f"data.root={place / 'dataset'}"
    done = run("evaluate.py", "--input-composite", root, "data.workers=0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    inputs = json.loads((tmp_path / "outputs/input-composite/summary.json").read_text())
    # the composites as predictions are the input composites, whatever their names' suffix
    (tmp_path / "theirs").mkdir()
    for subset in "AB":
        for path in (place / f"dataset/{subset}/composite_images").iterdir():
            Image.open(path).save(tmp_path / "theirs" / f"{path.stem}.png")
    done = run("evaluate.py", "--predictions", "theirs", root, "data.workers=0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    theirs = json.loads((tmp_path / "outputs/theirs/summary.json").read_text())
    for name in ("mse", "psnr", "fmse", "ssim"):
        assert (
            theirs["subsets"]["All"][name]
            == inputs["subsets"]["All"][name]
            == theirs["subsets"]["All"].get(f"input_{name}")
        )


def test_harmonizing(place, tmp_path):
    image = place / "dataset/A/composite_images/a-0_x_1_1.jpg"
    mask = place / "dataset/A/masks/a-0_x_1.png"
    done = run("scripts/harmonize.py", place / "run", image, mask, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a-0_x_1_1.jpg") as result, Image.open(image) as original:
        assert result.size == original.size


def test_harmonizing_a_folder_goes_on_after_a_failure(place, tmp_path, refusal):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    for name in "abc":
        Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(images / f"{name}.png")
        Image.fromarray(np.full((40, 50), 255, np.uint8)).save(masks / f"{name}.png")
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:60])
    done = run("scripts/harmonize.py", place / "run", images, masks, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert f"error: {images / 'b.png'}: cannot be read as an image" in done.stderr
    assert "2 of 3 harmonized" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    (masks / "c.png").unlink()
    (images / "b.png").unlink()
    message = refusal("scripts/harmonize.py", place / "run", images, masks, "--out", tmp_path / "out")
    assert message == f"error: {masks}: has no mask for c.png; a mask is named as its image"


def test_resuming_a_finished_run(place):
    done = run("train.py", "--resume", place / "run")
    assert done.returncode == 0, done.stderr
    assert "step 2 of 2, complete" in done.stdout


def test_command_lines_that_make_no_sense(refusal):
    assert "give either one recipe" in refusal("train.py")
    assert "give either one recipe" in refusal("train.py", "a.yaml", "--resume", "run")
    assert "give one of: a run" in refusal("evaluate.py")
    assert "give one of: a run" in refusal("evaluate.py", "run", "--input-composite")


def test_recipes_and_keys_that_are_wrong(refusal):
    assert "did you mean 'frih.yaml'?" in refusal("train.py", ROOT / "configs/firh.yaml")
    assert "command line: data.rot: unknown key; did you mean 'data.root'?" in refusal(
        "train.py", "configs/frih.yaml", "data.rot=x"
    )
    assert refusal("train.py", ROOT / "configs/frih.yaml").startswith("error: data.root: not set")


def test_runs_and_checkpoints_that_are_wrong(place, tmp_path, refusal):
    assert "already holds a run" in refusal("train.py", place / "recipe.yaml")
    assert "holds no run" in refusal("train.py", "--resume", tmp_path)
    assert "no such run folder or checkpoint" in refusal("evaluate.py", tmp_path / "nothing")
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes((place / "run/checkpoints/last.pt").read_bytes()[:5000])
    assert refusal("evaluate.py", damaged).startswith(f"error: {damaged}: is damaged")
    assert "model.head_width" in refusal("evaluate.py", place / "run", "model.head_width=3")


def test_a_gpu_that_is_not_there(place, refusal):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert "sees no GPU" in refusal("train.py", place / "recipe.yaml", f"run={place / 'gpu'}", "train.device=cuda")


def test_a_truncated_image_stops_training_by_name(place, tmp_path, refusal):
    dataset = make_dataset(tmp_path / "dataset")
    for path in (dataset / "A/composite_images").iterdir():
        path.write_bytes(path.read_bytes()[:400])
    message = refusal(
        "train.py", place / "recipe.yaml", f"data.root={dataset}", f"run={tmp_path / 'run'}", "data.workers=1"
    )
    assert str(dataset / "A/composite_images") in message
    assert "cannot be read as an image" in message
