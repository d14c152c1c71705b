"""Where the time of a training step goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule
from torch.utils.hooks import RemovableHandle
from tqdm import tqdm

from frih.common.devices import wait
from frih.common.distributed import World
from frih.config import SubmaskConfig
from frih.data.batches import Packed
from frih.data.images import HALF
from frih.submasks.extract import extract_batch

WARM_UP = 3
"""Steps before the first that is profiled."""


class Profile:
    """Times the parts of some steps, prints them, and writes a trace for chrome://tracing or Perfetto.

    A profiled step waits for the device at the end of each part, so that a part's time is its own. So it takes longer than
    others. Before and after, this costs nothing.

    Args:
        network: may have the children ``base`` and ``cascade``.
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
        self.hooks: list[RemovableHandle] = []

    @contextmanager
    def step(self, packed: Packed, waited: float) -> Iterator[None]:
        """Around a step with a batch, for which so many seconds were waited."""
        if self.steps and not self.seen:
            self._start()
        self.seen += 1
        if not self._recording():
            yield
        else:
            self.seconds["data wait"] += waited
            self.within_step = True
            with self.part("step"):
                yield
            self.within_step = False
            if self.submasks.method != "given":
                with self.part("clustering"):  # once more, as the loader's processes did
                    masks = packed.soft_mask.numpy() >= HALF
                    extract_batch(packed.composite.numpy(), masks, **self.submasks.model_dump())
        if self.profiler:
            self.profiler.step()

    def close(self) -> None:
        """Tells what was found if that was not done yet: a run may end before so many steps."""
        if self.profiler and self.seen > WARM_UP:
            self.profiler.stop()
        elif self.profiler and self.world.is_main:
            tqdm.write(
                f"train.profile: nothing was profiled; that begins after {WARM_UP} steps, and {self.seen} were made"
            )
        self._end()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Around a part of a step."""
        if not self._recording():
            yield
            return
        begun = self._now()
        with record_function(name):
            yield
        self.seconds[name] += self._now() - begun

    def table(self, all_reduce: float) -> str:
        """Milliseconds a step, by part.

        Args:
            all_reduce: seconds that the processes spent, within the steps, on adding up what each has.
        """
        parts, steps = self.parts(), self.profiled
        lines = [_line(name, seconds, seconds / sum(parts.values())) for name, seconds in parts.items()]
        lines.append(_line("clustering, by the loader", self.seconds["clustering"] / steps))
        if self.world.size > 1:
            lines.append(_line("all-reduce, within these", all_reduce / steps))
        return "\n".join([f"  {f'each of {steps} steps':26}{'ms':>9}{'share':>8}", *lines])

    @property
    def profiled(self) -> int:
        """The number of profiled steps."""
        return min(self.seen - WARM_UP, self.steps)

    def parts(self) -> dict[str, float]:
        """Seconds a step, by part, of everything in a step and of the wait before it."""
        spent = {name: seconds / self.profiled for name, seconds in self.seconds.items() if name != "clustering"}
        wait, step, forward, base = (spent.pop(name, 0.0) for name in ("data wait", "step", "forward", "base"))
        second = "cascade and head" if getattr(self.network, "cascade", None) is not None else "blending"
        parts = {"data wait": wait, "forward, base": base, f"forward, {second}": forward - base, **spent}
        return {**parts, "the rest": step - forward - sum(spent.values())}

    def _start(self) -> None:
        activities = [ProfilerActivity.CPU]
        if self.world.device.type in ("cuda", "xpu"):
            activities.append(getattr(ProfilerActivity, self.world.device.type.upper()))
        plan = schedule(wait=WARM_UP - 1, warmup=1, active=self.steps, repeat=1)
        self.profiler = profile(activities=activities, schedule=plan, on_trace_ready=self._tell)
        self.profiler.start()
        base = getattr(self.network, "base", None)
        if base is not None:
            begun = []
            self.hooks = [
                base.register_forward_pre_hook(lambda *_: begun.append(self._now() if self._recording() else 0.0)),
                base.register_forward_hook(lambda *_: self._add_base(begun.pop())),
            ]

    def _add_base(self, begun: float) -> None:
        if self.within_step:  # and not in a validation between two steps
            self.seconds["base"] += self._now() - begun

    def _recording(self) -> bool:
        kept = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        return self.profiler is not None and self.profiler.current_action in kept

    def _tell(self, profiler: profile) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(self.folder / f"trace-{self.world.rank}.json"))
        reductions = [one for one in profiler.key_averages() if "all_reduce" in one.key or "allreduce" in one.key]
        spent = max((max(one.device_time_total, one.cpu_time_total) for one in reductions), default=0.0)
        table = self.table(spent / 1e6)
        (self.folder / f"parts-{self.world.rank}.txt").write_text(table + "\n", encoding="utf-8")
        if self.world.is_main:
            tqdm.write(f"{table}\n  traces: {self.folder}/trace-*.json")
        self._end()

    def _end(self) -> None:
        """After this, steps are as fast as before."""
        self.profiler = None
        for hook in self.hooks:
            hook.remove()

    def _now(self) -> float:
        wait(self.world.device)
        return time.perf_counter()


def _line(name: str, seconds: float, share: float | None = None) -> str:
    return f"  {name:26}{1000 * seconds:9.1f}" + ("" if share is None else f"{share:8.0%}")
