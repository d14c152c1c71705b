"""Runs the jobs of ablations side by side: GPUs and threads for each, a line at each change, and what their steps cost."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from frih.common.processes import cores
from frih.common.wording import duration
from frih.tools.experiments.ablations import Job, next_commands, progress, runnable, training_steps
from frih.tools.experiments.costs import note
from frih.tools.experiments.jobs import Outcome, Runner
from frih.tools.experiments.run_log import latest

WATCHED = {"loss": "train/loss", "validation PSNR": "val/All/psnr"}
"""Figures shown of a running row."""


def run_all(
    jobs: Sequence[Job], out: Path, parallel: int, processes: int, stopping: Callable[[], bool]
) -> Mapping[Job, Outcome]:
    """Trains and evaluates, so many jobs at once, and notes the time of each piece of training in ``costs.jsonl``."""
    begun: dict[Job, tuple[int, float]] = {}

    def commands_of(job: Job) -> Sequence[Sequence[str]]:
        state = progress(job)
        step, when = begun.pop(job, (state.step, 0.0))
        if state.step > step:
            note(out, job.row, state.step - step, time.monotonic() - when)
        if state.step < state.steps:
            begun[job] = (state.step, time.monotonic())
        return [*map(runnable, next_commands(job, state))]

    def tell(job: Job, text: str) -> None:
        print(f"{job.name:36} {describe_state(job) if text == 'begins' else text}", flush=True)

    def variables(slot: int) -> Mapping[str, str]:
        return environment(slot, parallel, processes)

    return Runner(commands_of, parallel, stopping, tell, variables, still=lambda job: tell(job, "begins")).run(jobs)


def describe_state(job: Job) -> str:
    """How far a running job has come, by its log."""
    figures, steps = latest(job.folder), training_steps(job.config)
    step = figures.get("step", 0)
    seen = "".join(f", {name} {figures[key]:.4g}" for name, key in WATCHED.items() if figures.get(key) is not None)
    rate = figures.get("time/images_per_second")
    left = f", about {duration((steps - step) * job.config.train.batch / rate)} left" if rate and step < steps else ""
    return f"{'training' if step < steps else 'evaluating'}: step {step} of {steps}{left}{seen}"


def environment(slot: int, parallel: int, processes: int) -> dict[str, str]:
    """Variables for the programs of a slot: it takes its turn of the GPUs and its share of the threads."""
    variables = {"PYTHONUNBUFFERED": "1"}
    if "OMP_NUM_THREADS" not in os.environ:
        variables["OMP_NUM_THREADS"] = str(max(1, cores() // (parallel * processes)))
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
    if len(gpus) > processes:
        own = [gpus[(slot * processes + i) % len(gpus)] for i in range(processes)]
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return variables
