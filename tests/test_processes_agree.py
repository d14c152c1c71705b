"""Several processes: they train as one, and what goes wrong in one is told once and ends them all."""

import os
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from frih.common.distributed import World
from frih.config.recipes import to_yaml
from frih.data.loader import GlobalBatchSampler
from frih.losses import harmonization_loss
from frih.models import build_model
from frih.training.runs import start_run
from tests.conftest import ROOT, random_batch, run_here, save
from tests.training.conftest import assert_same_weights, lines, step_of, untimed

FORKSERVER = get_context("forkserver")
"""Starts processes quickly: they fork from one that has imported everything."""
FORKSERVER.set_forkserver_preload(["tests.test_processes_agree", "frih.tools.composites.online", "numba"])
STEPS = 8
"""Four times each image."""


@pytest.mark.parametrize(
    ("norm", "layouts"), [("none", [(2, 2), (4, 1)]), ("batch", [(4, 1)])], ids=["no norm", "norm over the batch"]
)
def test_processes_descend_alike_in_double_precision(small_config, norm, layouts):
    """With batches of 4 of 8 images, in layouts of processes, and parts of each one's share of a step.

    Of four processes some have no pair of image and submask in a step; they neither hang nor lose gradients.
    """
    config = small_config(model={"norm": norm})
    curve, state = in_processes(1, descend, 1, config)
    assert sum(curve[-2:]) < sum(curve[:2])
    for size, accumulate in layouts:
        other, other_state = in_processes(size, descend, accumulate, config)
        np.testing.assert_allclose(other, curve, rtol=1e-9)
        assert other_state.keys() == state.keys()
        for name, value in state.items():
            np.testing.assert_allclose(other_state[name], value, rtol=1e-7, atol=1e-10, err_msg=name)


def descend(world: World, accumulate: int, config) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of some steps, and in the end the gradients and buffers."""
    network = build_model(config).double()
    model = world.wrap(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
    images = [random_batch(ks=(k,), seed=seed, dtype=torch.float64) for seed, k in enumerate((3, 1, 0, 2, 4, 1, 2, 0))]
    order = GlobalBatchSampler(len(images), 4, seed=0, world=world, accumulate=accumulate)
    curve = []
    for epoch in range(STEPS // len(order)):
        order.seek(epoch, 0)
        for keys in order:
            optimizer.zero_grad()
            total = torch.zeros((), dtype=torch.float64)
            for part in range(accumulate):
                chosen = [images[index] for _, index in keys[part::accumulate]]
                composite, real, mask, labels = (
                    torch.cat([getattr(one, name) for one in chosen])
                    for name in ("composite", "real", "mask", "labels")
                )
                with world.part(model, last=part == accumulate - 1):
                    out = model(composite, mask, labels)
                    loss = harmonization_loss(out, real, mask, labels).total.mean() / accumulate
                    loss.backward()
                total += loss.detach()
            optimizer.step()
            curve.append(world.mean(total).item())
    state = {f"gradient of {name}": parameter.grad.numpy() for name, parameter in network.named_parameters()}
    return curve, state | {name: buffer.numpy() for name, buffer in network.named_buffers()}


def in_processes(size: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Calls ``work(world, *arguments)`` in ``size`` processes and returns the first one's result."""
    if size == 1:
        return work(World(), *arguments)
    port = free_port()
    with ProcessPoolExecutor(size, FORKSERVER) as pool:
        members = [pool.submit(_member, rank, size, port, work, arguments) for rank in range(size)]
        results = [member.result(timeout=200) for member in members]
    return results[0]


def _member(rank: int, size: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=size, timeout=timedelta(seconds=100))
    found = work(World(rank, size), *arguments)
    dist.barrier()
    dist.destroy_process_group()
    return found if rank == 0 else None


def test_two_processes_train_as_one(dataset, tmp_path, small_config):
    """Batch normalisation and empty masks included."""
    save(dataset / "A/masks/a-0_x_1.png", np.zeros((140, 160), np.uint8))
    runs = [tmp_path / "one", tmp_path / "two"]
    for processes, run in enumerate(runs, start=1):
        config = small_config(
            train={"epochs": 3, "milestones": [3], "lr": 1e-4},
            data={"root": str(dataset), "workers": 1},
            logging={"every": 2},
            validation={"fraction": 0.2, "every": 3, "images": 0},
            run=str(run),
        )
        assert in_processes(processes, train, config)
    one, two = map(untimed, runs)
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        assert a.pop("train/submask_histogram", None) == b.pop("train/submask_histogram", None)
        assert a == pytest.approx(b, rel=1e-3)
    assert_same_weights(*runs, rtol=1e-3, atol=1e-4)


def train(world: World, config) -> bool:
    return start_run(config, world).fit()


@pytest.fixture
def recipe(dataset, tmp_path, small_config):
    """A recipe that trains for longer than anyone waits."""
    config = small_config(
        train={"batch": 2, "epochs": 5000, "milestones": [5000]},
        data={"root": str(dataset), "workers": 1},
        validation={"fraction": 0, "every": 5000, "images": 0},
        checkpoint={"every_steps": 1},
        run=str(tmp_path / "run"),
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(config))
    return path


class Job:
    """``train.py`` in ``size`` processes: started one by one, as Slurm does, or by a launcher on each of some machines."""

    def __init__(self, folder: Path) -> None:
        self.out, self.run = folder / "out.txt", folder / "run"
        self.members = []

    def start(self, *words: object, size: int = 2, launchers: int = 0) -> None:
        port = free_port()
        if launchers:
            meeting = f"--rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:{port} --rdzv-id=test".split()
            shape = f"--nnodes={launchers}", f"--nproc-per-node={size // launchers}"
            words = (*meeting, *shape, ROOT / "train.py", *words)
        self.out.write_text("")
        self.members = [
            FORKSERVER.Process(target=work, args=(self.out, rank, size, 0 if launchers else port, words))
            for rank in range(launchers or size)
        ]
        for member in self.members:
            member.start()

    def wait_for(self, name: str) -> None:
        for _ in range(1000):
            if (self.run / name).exists():
                return
            time.sleep(0.1)
        raise AssertionError(self.end()[1])

    def send(self, number: int, *members: int) -> None:
        for member in members:
            os.kill(self.members[member].pid, number)

    def end(self) -> tuple[list[int], str]:
        """Waits for a minute at most; the statuses, and all that was printed."""
        for member in self.members:
            member.join(60)
        return [member.exitcode for member in self.members], self.out.read_text()


def work(out: Path, rank: int, size: int, port: int, words: tuple[object, ...]) -> None:
    """What each process of a job does."""
    os.setsid()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    with out.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if not port:
        sys.argv = ["torchrun", *map(str, words)]
        runpy.run_module("torch.distributed.run", run_name="__main__")
        return
    if size > 1:
        os.environ |= {"WORLD_SIZE": f"{size}", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    sys.exit(run_here("train.py", *words))


@pytest.fixture
def job(tmp_path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    for member in job.members:
        if member.is_alive():
            os.killpg(member.pid, signal.SIGKILL)


def test_an_error_in_one_process_is_told_once_and_ends_all(recipe, dataset, job):
    job.start(recipe, launchers=1)
    job.wait_for("checkpoints/last.pt")
    (dataset / "A/real_images/a-1_x.jpg").write_bytes(b"damaged")
    statuses, out = job.end()
    assert statuses == [1]
    assert out.count("a-1_x.jpg: cannot be read as an image") == 1
    assert "[process " in out
    assert "Traceback (most recent call last)" not in out.partition("elastic")[0]
    assert step_of(job.run) > 0


def test_what_all_processes_find_wrong_is_told_once(recipe, job):
    job.start(recipe, "train.batch=3")
    statuses, out = job.end()
    assert statuses == [2, 2]
    assert out.count("3 does not divide among 2 processes; 2 or 4 would") == 1
    assert not (job.run / "config.yaml").exists()


def test_a_killed_process_ends_the_others(recipe, job):
    job.start(recipe)
    job.wait_for("checkpoints/last.pt")
    job.send(signal.SIGKILL, 1)
    statuses, out = job.end()
    assert statuses == [2, -signal.SIGKILL]
    assert "error: ended, because another process of the run ended" in out
    assert step_of(job.run) > 0


def test_two_machines_train_stop_and_go_on(recipe, job):
    """Two launchers meet, as on two machines, and a scheduler stops them. Slurm then resumes the run and warns each process."""
    job.start(recipe, launchers=2)
    job.wait_for("metrics.jsonl")
    job.send(signal.SIGTERM, 0, 1)
    statuses, out = job.end()
    assert 0 not in statuses
    assert out.count("stopped and saved") == 1
    stopped = step_of(job.run)
    assert lines(job.run)[-1]["step"] == stopped > 0
    job.start("--resume", job.run)
    job.wait_for(f"checkpoints/step-{stopped:08d}.pt")
    job.send(signal.SIGUSR1, 0, 1)
    statuses, out = job.end()
    assert statuses == [130, 130]
    assert out.count("stopped and saved") == 1
    assert step_of(job.run) > stopped


def test_sigterm_to_a_whole_job_saves_and_the_run_goes_on(recipe, job):
    """A scheduler sends it to the loader's workers too."""
    job.start(recipe, size=1)
    job.wait_for("metrics.jsonl")
    os.killpg(job.members[0].pid, signal.SIGTERM)
    statuses, out = job.end()
    assert statuses == [130]
    assert "stopped and saved; go on with --resume" in out
    assert "Traceback" not in out
    assert step_of(job.run) == lines(job.run)[-1]["step"] > 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
