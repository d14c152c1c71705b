import json
import os
import subprocess
import sys

import pytest
import torch

from frih.config.recipes import to_yaml
from frih.models import build_model
from frih.models.checkpoint import save_checkpoint
from scripts.check_resume import ROOT, differences, family, kill_all, parent_of


@pytest.fixture
def runs(tmp_path, small_config):
    """Two folders that hold the same: a log of two lines, and a checkpoint."""
    config = small_config()
    for name in ("one", "two"):
        save_checkpoint(tmp_path / name / "checkpoints/last.pt", config, build_model(config), {"step": 2})
        lines = [{"step": step, "train/loss": 0.5, "time/data_wait": len(name) / step} for step in (1, 2)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path / "one", tmp_path / "two"


def test_timings_are_no_difference(runs):
    log = runs[1] / "metrics.jsonl"
    log.write_text(log.read_text().replace("3.0", "7.0"))
    assert differences(*runs) == []


def test_figures_lines_and_weights_that_differ_are_named(runs, small_config):
    log = runs[1] / "metrics.jsonl"
    log.write_text(log.read_text().replace("0.5", "0.5000000001", 1))
    model = build_model(small_config())
    with torch.no_grad():
        model.head.conv1.bias[0] += 1e-7
    save_checkpoint(runs[1] / "checkpoints/last.pt", small_config(), model, {"step": 2})
    assert differences(*runs) == ["metrics.jsonl at step 1: train/loss", "model head.conv1.bias"]
    log.write_text(log.read_text().splitlines(keepends=True)[1])
    assert "metrics.jsonl: 2 lines and 1" in differences(*runs)


def test_a_process_is_killed_with_its_descendants():
    child = "import subprocess; subprocess.run(['sleep', '100'])"
    with subprocess.Popen([sys.executable, "-c", child]) as process:
        while len(family(process.pid)) < 2:
            pass
        members = family(process.pid)
        assert parent_of(process.pid) == os.getpid()
        assert parent_of(members[1]) == process.pid
        kill_all(process.pid)
        assert process.wait() == -9
    assert not any(parent_of(pid) == process.pid for pid in members)


def test_a_run_that_is_killed_twice_ends_as_one_left_alone(dataset, tmp_path, small_config):
    """The script itself, shortened."""
    config = small_config(
        train={"epochs": 20, "milestones": [20]},
        data={"root": str(dataset), "workers": 0},
        validation={"fraction": 0.0, "every": 20, "images": 0},
        checkpoint={"every_steps": 2},
    )
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    words = [tmp_path / "recipe.yaml", "--kills", "2", "--pause", "0.2", "--out", tmp_path / "runs"]
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/check_resume.py", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill 1 after" in done.stdout
    assert "the same: every line of metrics.jsonl but for timings, and every weight" in done.stdout
