"""Compares the loss curve of 20 small steps with the committed one.

A change that moves the curve changes results, and CHANGELOG.md must say so; ``python -m tests.test_golden`` then writes a new
curve. The steps use everything: files, boxes, submasks, both stages and the optimizer.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from frih.common.distributed import World
from frih.config import Config
from frih.training.runs import start_run
from tests.conftest import SMALL, make_dataset

GOLDEN = Path(__file__).parent / "assets/golden_losses.json"
TRAIN = {"batch": 4, "epochs": 10, "milestones": [8], "lr": 1e-3, "device": "cpu"}


def losses(folder: Path) -> list[dict[str, float]]:
    """Trains on lossless images, because JPEG decoders differ."""
    dataset = make_dataset(folder / "dataset", "png")
    tree = {
        **SMALL,
        "data": {**SMALL["data"], "root": str(dataset)},
        "train": TRAIN,
        "validation": {"fraction": 0, "images": 0},
        "run": str(folder / "run"),
    }
    trainer = start_run(Config.model_validate_json(json.dumps(tree)), World())
    assert trainer.steps == 20
    trainer.fit()
    lines = (folder / "run/metrics.jsonl").read_text().splitlines()
    keys = ("step", "train/loss", "train/loss_coarse", "train/loss_refine", "train/lr")
    return [{key: json.loads(line)[key] for key in keys} for line in lines]


def test_the_loss_curve_is_the_committed_one(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    found = losses(tmp_path)
    assert len(found) == len(golden) == 20
    for ours, theirs in zip(found, golden, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        curve = losses(Path(folder))
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(line) for line in curve) + "\n]\n")
