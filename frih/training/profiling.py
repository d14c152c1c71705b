"""Where the time of a training step goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from tqdm import tqdm

from frih.common.distributed import World
from frih.config import SubmaskConfig
from frih.data.batches import Packed
from frih.data.images import HALF
from frih.submasks.extract import extract_batch

WARM_UP = 3
"""Steps before the first that is profiled."""


class Profile:
    """Times the parts of some steps, prints them, and writes a trace for chrome://tracing or Perfetto.

    While it is at work the device is waited for at the end of each part, so that a part's time is its own; such steps are
    slower than others. Before and after it costs nothing.

    Args:
        network: has the children ``base`` and, with a second stage, ``cascade``.
        submasks: how the loader divides foregrounds.
        folder: gets ``trace-<rank>.json`` and ``parts-<rank>.txt``.
        steps: how many; 0: none.
        world: this process's place in the run.
    """

    def __init__(self, network: nn.Module, submasks: SubmaskConfig, folder: Path, steps: int, world: World) -> None:
        self.network, self.submasks, self.folder, self.steps, self.world = network, submasks, folder, steps, world
        self.seconds: dict[str, float] = defaultdict(float)
        self.seen = 0
        self.within_step = False
        self.profiler: profile | None = None
        self.hooks: list[Any] = []

    @contextmanager
    def step(self, packed: Packed, waited: float) -> Iterator[None]:
        """Around a step with a batch, for which so many seconds were waited."""
        self.seen += 1
        if self.steps and self.seen == WARM_UP + 1:
            self._begin()
        if not self.profiler:
            yield
            return
        self.seconds["data wait"] += waited
        self.within_step = True
        with self.part("step"):
            yield
        self.within_step = False
        with self.part("clustering"):  # once more, as the loader's processes did
            extract_batch(packed.composite.numpy(), packed.soft_mask.numpy() >= HALF, **self.submasks.model_dump())
        if self.seen == WARM_UP + self.steps:
            self.close()

    def close(self) -> None:
        """Tells what was found, if that was not done yet: a run may end before so many steps."""
        if self.profiler:
            self._end(self.profiler)
        elif 0 < self.seen <= WARM_UP and self.steps and self.world.is_main:
            tqdm.write(
                f"train.profile: nothing was profiled, for that begins after {WARM_UP} steps, and {self.seen} were made"
            )

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Around a part of a step."""
        if not self.profiler:
            yield
            return
        begun = self._now()
        with record_function(name):
            yield
        self.seconds[name] += self._now() - begun

    @property
    def profiled(self) -> int:
        """How many steps were."""
        return min(self.seen - WARM_UP, self.steps)

    def parts(self) -> dict[str, float]:
        """Seconds a step, by part, of all that a step and the wait before it consist of."""
        spent = dict(self.seconds)
        second = "cascade and head" if getattr(self.network, "cascade", None) is not None else "blending"
        step, base, _ = spent.pop("step"), spent.pop("base"), spent.pop("clustering")
        wait, forward = spent.pop("data wait"), spent.pop("forward")
        rest = step - forward - sum(spent.values())
        parts = {
            "data wait": wait,
            "forward, base": base,
            f"forward, {second}": forward - base,
            **spent,
            "the rest": rest,
        }
        return {name: seconds / self.profiled for name, seconds in parts.items()}

    def table(self, all_reduce: float) -> str:
        """Milliseconds a step, by part.

        Args:
            all_reduce: seconds that the processes spent, within the steps, on adding up what each has.
        """
        parts = self.parts()
        lines = [_line(name, seconds, seconds / sum(parts.values())) for name, seconds in parts.items()]
        lines.append(_line("clustering, by the loader", self.seconds["clustering"] / self.profiled))
        if self.world.size > 1:
            lines.append(_line("all-reduce, within these", all_reduce / self.profiled))
        return "\n".join([f"  {f'each of {self.profiled} steps':26}{'ms':>9}{'share':>8}", *lines])

    def _begin(self) -> None:
        base: nn.Module = self.network.base  # type: ignore[assignment]
        begun = []

        def before(*_: Any) -> None:
            begun.append(self._now())

        def after(*_: Any) -> None:
            spent = self._now() - begun.pop()
            if self.within_step:  # and not in a validation between two steps
                self.seconds["base"] += spent

        self.hooks = [base.register_forward_pre_hook(before), base.register_forward_hook(after)]
        activities = [ProfilerActivity.CPU]
        if self.world.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self.profiler = profile(activities=activities)
        self.profiler.start()

    def _end(self, profiler: profile) -> None:
        profiler.stop()
        for hook in self.hooks:
            hook.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.folder / f"trace-{self.world.rank}.json"))
        reductions = [one for one in profiler.key_averages() if "all_reduce" in one.key or "allreduce" in one.key]
        spent = max((max(one.device_time_total, one.cpu_time_total) for one in reductions), default=0.0)
        self.profiler = None
        table = self.table(spent / 1e6)
        (self.folder / f"parts-{self.world.rank}.txt").write_text(table + "\n", encoding="utf-8")
        if self.world.is_main:
            tqdm.write(f"{table}\n  traces: {self.folder}/trace-*.json")

    def _now(self) -> float:
        if self.world.device.type == "cuda":
            torch.cuda.synchronize(self.world.device)
        return time.perf_counter()


def _line(name: str, seconds: float, share: float | None = None) -> str:
    return f"  {name:26}{1000 * seconds:9.1f}" + ("" if share is None else f"{share:8.0%}")
