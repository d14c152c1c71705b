"""Several processes: they train as one, and what goes wrong in one is told once and ends them all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from frih.common.distributed import World
from frih.config.recipes import to_yaml
from frih.data.loader import GlobalBatchSampler
from frih.losses import harmonization_loss
from frih.models import build_model
from frih.models.checkpoint import load_checkpoint
from tests.conftest import random_batch

ROOT = Path(__file__).parents[1]
STEPS = 20
LAYOUTS = ((1, 1), (2, 2), (4, 1))
"""Processes, and parts of each one's share of a step."""


def test_one_two_and_four_processes_train_alike_in_double_precision(small_config):
    """With batches of 4 of 8 images, stochastic gradient descent and no normalisation over batches."""
    config = small_config(model={"norm": "none"})
    context = mp.get_context("spawn")
    curves = []
    for size, accumulate in LAYOUTS:
        results, port = context.Queue(), free_port()
        members = [
            context.Process(target=_descend, args=(rank, size, accumulate, port, config, results))
            for rank in range(size)
        ]
        for member in members:
            member.start()
        curves.append(results.get(timeout=200))
        for member in members:
            member.join(60)
            assert member.exitcode == 0
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-9)
    assert curves[0][-1] < curves[0][0]


def _descend(rank: int, size: int, accumulate: int, port: int, config, results) -> None:
    torch.set_num_threads(1)
    world = World(rank, size)
    if size > 1:
        address = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size, timeout=timedelta(seconds=100))
    network = build_model(config).double()
    model = world.wrap(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
    images = [random_batch(ks=(k,), seed=seed, dtype=torch.float64) for seed, k in enumerate((3, 1, 0, 2, 4, 1, 2, 0))]
    order = GlobalBatchSampler(len(images), 4, seed=0, world=world, accumulate=accumulate)
    curve = []
    while len(curve) < STEPS:
        order.seek(len(curve) // len(order), 0)
        for keys in order:
            optimizer.zero_grad()
            total = torch.zeros((), dtype=torch.float64)
            count = len(keys) // accumulate
            for part in range(accumulate):
                chosen = [images[index] for _, index in keys[part * count : (part + 1) * count]]
                composite, real, mask, labels = (
                    torch.cat(columns)
                    for columns in list(
                        zip(*((one.composite, one.real, one.mask, one.labels) for one in chosen), strict=True)
                    )
                )
                with world.part(model, last=part == accumulate - 1):
                    out = model(composite, mask, labels)
                    loss = harmonization_loss(out, real, mask, labels).total.mean() / accumulate
                    loss.backward()
                total += loss.detach()
            optimizer.step()
            curve.append(world.mean(total).item())
    if rank == 0:
        results.put(curve)
    world.barrier()
    if size > 1:
        dist.destroy_process_group()


@pytest.fixture
def recipe(dataset, tmp_path, small_config):
    """A recipe that trains for longer than anyone waits."""
    config = small_config(
        train={"epochs": 5000, "milestones": [5000]},
        data={"root": str(dataset), "workers": 1},
        validation={"fraction": 0, "every": 5000, "images": 0},
        checkpoint={"every_steps": 5},
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(config))
    return path


class Job:
    """``train.py`` under one or two launchers of two or one processes."""

    def __init__(self, *words: str, machines: int = 1) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        meeting = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port()}", "--rdzv-id=test"]
        launcher = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            f"--nnodes={machines}",
            f"--nproc-per-node={2 // machines}",
        ]
        self.launchers = [
            subprocess.Popen(
                [*launcher, *meeting, "train.py", *words],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            for _ in range(machines)
        ]

    def wait_for(self, path: Path) -> None:
        for _ in range(1000):
            if path.exists():
                return
            time.sleep(0.1)
        raise AssertionError(self.end()[1])

    def trainers(self) -> list[int]:
        """The processes that train, by rank."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ranks = [int(word[5:]) for word in words if word.startswith(b"RANK=")]
            if ranks and parent in {launcher.pid for launcher in self.launchers}:
                found[ranks[0]] = int(folder.name)
        return [pid for _, pid in sorted(found.items())]

    def end(self) -> tuple[list[int], str]:
        """Waits for a minute at most; the statuses, and all that was printed."""
        try:
            outs = [launcher.communicate(timeout=60)[0] for launcher in self.launchers]
        finally:
            for launcher in self.launchers:
                if launcher.poll() is None:
                    os.killpg(launcher.pid, signal.SIGKILL)
        return [launcher.returncode for launcher in self.launchers], "".join(outs)


def test_an_error_in_one_process_is_told_once_and_ends_all(recipe, dataset, tmp_path):
    run = tmp_path / "run"
    job = Job(str(recipe), f"run={run}")
    job.wait_for(run / "checkpoints/last.pt")
    (dataset / "A/real_images/a-1_x.jpg").write_bytes(b"damaged")
    statuses, out = job.end()
    assert statuses == [1]
    assert out.count("a-1_x.jpg: cannot be read as an image") == 1
    assert "[process " in out
    assert "Traceback (most recent call last)" not in out.partition("elastic")[0]
    assert load_checkpoint(run / "checkpoints/last.pt")["training"]["step"] > 0


def test_what_all_processes_find_wrong_is_told_once(recipe, tmp_path):
    run = tmp_path / "run"
    statuses, out = Job(str(recipe), f"run={run}", "train.batch=3").end()
    assert statuses == [1]
    assert out.count("3 does not divide among 2 processes; 2 or 4 would") == 1
    assert not (run / "config.yaml").exists()


def test_a_killed_process_ends_the_others(recipe, tmp_path):
    run = tmp_path / "run"
    job = Job(str(recipe), f"run={run}")
    job.wait_for(run / "checkpoints/last.pt")
    trainers = job.trainers()
    assert len(trainers) == 2
    os.kill(trainers[1], signal.SIGKILL)
    statuses, _ = job.end()
    assert statuses == [1]
    assert load_checkpoint(run / "checkpoints/last.pt")["training"]["step"] > 0


def test_two_machines_train_stop_and_go_on(recipe, tmp_path):
    """Two launchers meet, as on two machines, and are told to stop, by a scheduler or by Slurm's warning to each process."""
    run = tmp_path / "run"
    job = Job(str(recipe), f"run={run}", machines=2)
    job.wait_for(run / "metrics.jsonl")
    for launcher in job.launchers:
        os.kill(launcher.pid, signal.SIGTERM)
    statuses, out = job.end()
    assert 0 not in statuses
    assert out.count("stopped and saved") == 1
    stopped = load_checkpoint(run / "checkpoints/last.pt")["training"]["step"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == stopped > 0
    job = Job("--resume", str(run), machines=2)
    job.wait_for(run / f"checkpoints/step-{stopped:08d}.pt")
    trainers = job.trainers()
    assert len(trainers) == 2
    for pid in trainers:
        os.kill(pid, signal.SIGUSR1)
    assert job.end()[1].count("stopped and saved") == 1
    assert load_checkpoint(run / "checkpoints/last.pt")["training"]["step"] > stopped


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
