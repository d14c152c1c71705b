"""The programs as a user runs them, and what they say when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from frih.common.errors import UserError
from frih.config import Config
from frih.config.recipes import to_yaml
from frih.harmonizing.harmonizer import Harmonizer
from tests.conftest import ROOT, SMALL, make_dataset, run_here


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a dataset and a run, trained in a process of its own."""
    place = tmp_path_factory.mktemp("place")
    dataset = make_dataset(place / "dataset")
    tree = {**SMALL, "data": {**SMALL["data"], "root": str(dataset)}, "run": str(place / "run")}
    (place / "recipe.yaml").write_text(to_yaml(Config.model_validate_json(json.dumps(tree))))
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", place / "recipe.yaml"],
        cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "10 composites of" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{place / 'run'}: step 2 of 2, complete")
    return place


@pytest.fixture
def run(capsys):
    """Runs a program; returns what it prints. Its exit status is that given."""

    def call(program: str, *arguments: object, status: int = 0):
        capsys.readouterr()
        found = run_here(program, *arguments)
        printed = capsys.readouterr()
        assert found == status, printed.err
        return printed

    return call


@pytest.fixture
def refusal(run):
    """The one line that a program prints before it exits with status 2."""

    def call(program: str, *arguments: object) -> str:
        [line] = [line for line in run(program, *arguments, status=2).err.splitlines() if line.startswith("error: ")]
        return line

    return call


def test_evaluating_a_run(place, run):
    printed = run("evaluate.py", place / "run").out
    assert "Input composite" in printed
    assert "protocol idih" in printed
    out = place / "run/evaluation/test"
    summary = json.loads((out / "summary.json").read_text())
    assert summary["about"]["checkpoint"] == str(place / "run/checkpoints/last.pt")
    assert summary["about"]["step"] == 2
    assert summary["subsets"]["All"]["images"] == 2
    assert len((out / "rows.csv").read_text().splitlines()) == 3
    with Image.open(out / "images.png") as sheet:
        assert sheet.width > 6 * 128


def test_evaluating_other_checkpoints_splits_and_folders(place, tmp_path, run):
    run("evaluate.py", place / "run/checkpoints/best.pt", "--split", "train", "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out/summary.json").read_text())["images"] == 10


def test_evaluating_composites_and_predictions(place, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keys = f"data.root={place / 'dataset'}", "data.workers=0"
    run("evaluate.py", "--input-composite", *keys)
    # the composites as predictions are the input composites, whatever their names' suffix
    (tmp_path / "theirs").mkdir()
    for path in (place / "dataset").glob("*/composite_images/*"):
        Image.open(path).save(tmp_path / "theirs" / f"{path.stem}.png")
    run("evaluate.py", "--predictions", "theirs", *keys)
    inputs, theirs = (
        json.loads((tmp_path / "outputs" / name / "summary.json").read_text())["subsets"]["All"]
        for name in ("input-composite", "theirs")
    )
    for name in ("mse", "psnr", "fmse", "ssim"):
        assert theirs[name] == inputs[name] == theirs.get(f"input_{name}")


def test_harmonizing(place, tmp_path, run):
    image = place / "dataset/A/composite_images/a-0_x_1_1.jpg"
    run("scripts/harmonize.py", place / "run", image, place / "dataset/A/masks/a-0_x_1.png", "--out", tmp_path)
    with Image.open(tmp_path / "a-0_x_1_1.jpg") as result, Image.open(image) as original:
        assert result.size == original.size


def test_harmonizing_a_folder_goes_on_after_a_failure(place, tmp_path, run, refusal):
    images, masks, out = tmp_path / "images", tmp_path / "masks", tmp_path / "out"
    for folder, value in ((images, np.full((40, 50, 3), 90, np.uint8)), (masks, np.full((40, 50), 255, np.uint8))):
        folder.mkdir()
        for name in "abc":
            Image.fromarray(value).save(folder / f"{name}.png")
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:60])
    printed = run("scripts/harmonize.py", place / "run", images, masks, "--out", out, status=2)
    assert f"error: {images / 'b.png'}: cannot be read as an image" in printed.err
    assert "2 of 3 harmonized" in printed.out
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    (masks / "c.png").unlink()
    (images / "b.png").unlink()
    message = refusal("scripts/harmonize.py", place / "run", images, masks, "--out", out)
    assert message == f"error: {masks}: has no mask for c.png; a mask has the name of its image"


def test_resuming_a_finished_run(place, run):
    assert "step 2 of 2, complete" in run("train.py", "--resume", place / "run").out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train.py", "give either one recipe"),
        ("train.py a.yaml --resume run", "give either one recipe"),
        ("train.py configs/firh.yaml", "did you mean 'frih.yaml'?"),
        ("train.py configs/frih.yaml data.rot=x", "command line: data.rot: unknown key; did you mean 'data.root'?"),
        ("train.py configs/frih.yaml", "error: data.root: not set"),
        ("train.py ~nobody-here/a.yaml", "~nobody-here has no home folder here"),
        ("train.py lr=0.1.yaml", "lr=0.1.yaml: no such recipe"),
        ("evaluate.py runs/lr=0.01", "runs/lr=0.01: no such run folder"),
        ("evaluate.py", "give one of: a run"),
        ("evaluate.py run --input-composite", "give one of: a run"),
    ],
)
def test_command_lines_that_make_no_sense(refusal, monkeypatch, command, message):
    monkeypatch.chdir(ROOT)
    assert message in refusal(*command.split())


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
    message = "cuda was asked for, but PyTorch sees no GPU"
    training = refusal("train.py", place / "recipe.yaml", f"run={place / 'gpu'}", "train.device=cuda")
    assert training.startswith(f"error: train.device: {message}")
    pair = (place / "dataset/A" / name for name in ("composite_images/a-0_x_1_1.jpg", "masks/a-0_x_1.png"))
    harmonizing = refusal("scripts/harmonize.py", place / "run", *pair, "--out", place / "out", "--device", "cuda")
    assert harmonizing.startswith(f"error: --device: {message}")
    with pytest.raises(UserError, match=f"^device: {message}"):
        Harmonizer.load(place / "run", device="cuda")


def test_a_truncated_image_stops_training_by_name(place, tmp_path, refusal):
    dataset = make_dataset(tmp_path / "dataset")
    for path in (dataset / "A/composite_images").iterdir():
        path.write_bytes(path.read_bytes()[:400])
    keys = f"data.root={dataset}", f"run={tmp_path / 'run'}", "data.workers=1"
    message = refusal("train.py", place / "recipe.yaml", *keys)
    assert str(dataset / "A/composite_images") in message
    assert "cannot be read as an image" in message


def test_the_gallery_shows_what_the_evaluation_names(place, run, refusal, tmp_path):
    root, weights = place / "dataset", place / "run"
    run("evaluate.py", weights, "--split", "test", "--out", tmp_path / "evaluation")
    options = "--weights", weights, "--out", tmp_path / "images"
    run("scripts/gallery.py", root, tmp_path / "evaluation", *options)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["gallery.jpg", "strip.jpg"]
    with Image.open(tmp_path / "images/strip.jpg") as strip:
        assert strip.width == 4 * 306 + 6
    message = refusal("scripts/gallery.py", root, tmp_path / "evaluation", "--strip", "none.jpg", *options)
    assert message == f"error: --strip none.jpg: no such composite in {tmp_path / 'evaluation'}"
