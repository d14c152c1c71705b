"""Small runs: how to start one, what happens during its steps, and what lies in its folder."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from frih.common.distributed import World
from frih.data.batches import Batch
from frih.models.checkpoint import load_checkpoint
from frih.training.runs import resume_run, resumed_config, start_run
from frih.training.trainer import Trainer


@pytest.fixture
def dataset(dataset) -> Path:
    """Keeps five training images, each of another photo, for speed."""
    for subset, count in (("A", 3), ("B", 2)):
        listed = dataset / subset / f"{subset}_train.txt"
        listed.write_text("".join(f"{name}\n" for name in listed.read_text().splitlines()[::2][:count]))
    return dataset


@pytest.fixture
def make(dataset, tmp_path, small_config) -> Callable[..., Trainer]:
    """Starts a small run in a folder of the given name: two steps an epoch, or one where images are held out."""

    def start(name: str = "run", world: World | None = None, **sections: Any) -> Trainer:
        sections["data"] = {"root": str(dataset)}
        sections["train"] = {"batch": 2, **sections.get("train", {})}
        return start_run(small_config(run=str(tmp_path / name), **sections), world or World())

    return start


def resume(run: Path, *overrides: str) -> Trainer:
    return resume_run(resumed_config(run, list(overrides)), World(), run)


def before_each_step(trainer: Trainer, act: Callable[[int, Batch], object]) -> None:
    """Calls ``act(step, batch)`` before each step; the first step is 1."""
    train_step = trainer.train_step

    def step(batch):
        act(trainer.step + 1, batch)
        return train_step(batch)

    trainer.train_step = step


def stop_at(trainer: Trainer, step: int, number: int = signal.SIGTERM) -> None:
    """Sends a signal to this process during a step."""
    before_each_step(trainer, lambda at, batch: at == step and os.kill(os.getpid(), number))


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def untimed(run: Path) -> list[dict]:
    """What does not depend on the machine's speed."""
    return [{name: value for name, value in line.items() if not name.startswith("time/")} for line in lines(run)]


def step_of(run: Path, name: str = "last.pt") -> int:
    """The step of a checkpoint; 0 if it is not there."""
    path = run / "checkpoints" / name
    return load_checkpoint(path)["training"]["step"] if path.exists() else 0


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "checkpoints/last.pt")["model"]


def assert_same_weights(run: Path, other: Path, *, rtol: float = 0, atol: float = 0) -> None:
    torch.testing.assert_close(weights(run), weights(other), rtol=rtol, atol=atol)


def assert_same(run: Path, other: Path) -> None:
    assert untimed(run) == untimed(other)
    assert_same_weights(run, other)
