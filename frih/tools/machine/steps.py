"""Whether the device trains rightly: as the CPU does, to the bit after a stop, and with loaders that read the same."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from frih.common.devices import CPU
from frih.common.distributed import World
from frih.common.processes import cores
from frih.config import Config
from frih.data.batches import Packed
from frih.tools.machine.record import Row, judged, skipped
from frih.tools.machine.right import allowed, relative
from frih.tools.machine.setting import Setting, with_changes
from frih.training.runs import resume_run
from frih.training.trainer import Trainer

UNORDERED = {
    "index_add": "sums by atomic additions; also the gradient of index_select, which cuts tiles out of features",
    "scatter_add": "sums by atomic additions; of ones here, which is exact in any order",
    "index_put": "deterministic where it sums, because it sorts first",
    "convolution_backward": "cuDNN may choose an algorithm of atomic additions",
    "upsample_bilinear2d_backward": "sums by atomic additions, and has no other way; only the dense head has it",
}
"""Operators whose order of summation may vary on CUDA, by PyTorch's notes on ``use_deterministic_algorithms``."""


def small(setting: Setting, precision: str = "fp32", *, workers: int = 0, **train: Any) -> Config:
    """A recipe with four images a step."""
    config = setting.recipe(precision=precision, batch=4, **train)
    return with_changes(config, {"data": {"workers": workers}})


def advance(trainer: Trainer, steps: int) -> list[float]:
    """Trains up to a step, as the trainer does between two validations; returns the mean loss of each step."""
    losses = []
    while trainer.step < steps:
        trainer.order.seek(*divmod(trainer.step, len(trainer.order)))
        for packed in islice(trainer.loader, steps - trainer.step):
            made = trainer.train_step(packed.unpack(trainer.world.device))
            losses.append(made.total.mean().item())
    return losses


def two_steps(setting: Setting) -> Iterator[Row]:
    """Each precision against float32 on the CPU. If the device is the CPU, the reference has the other layout of features.

    The rate is low. Adam's first step goes by the sign of each gradient, so it would magnify the rounding of gradients near 0.
    """
    gpu = setting.device.is_gpu
    reference = _trained(setting.trainer(small(setting, channels_last=gpu, lr=1e-5), "cpu", world=World()))
    for precision in setting.options.precisions:
        name = f"two steps, {precision}"
        if not gpu and precision in ("tf32", "fp16"):
            why = "only GPUs have it" if precision == "tf32" else "scaled losses are tried on GPUs only"
            yield skipped(name, why)
            continue
        config = small(setting, precision, lr=1e-5)
        trainer = setting.trainer(config, f"device-{precision}")
        if precision == "fp16":  # the usual first scale may overflow, and the step would be left out
            trainer.scaler = torch.amp.GradScaler(setting.device.device.type, init_scale=64.0)
        found = _trained(trainer)
        errors = {key: relative(found[key], reference[key]) for key in found}
        bounds = allowed(precision, config.train.batch * config.data.size**2)
        limits = {"losses": 2 * bounds["training"], "momentum": 2 * bounds["gradient"]}  # both sides round
        yield judged(name, errors, limits, kind="training", precision=precision, losses=found["losses"].tolist())


def _trained(trainer: Trainer) -> dict[str, Tensor]:
    """The losses of two steps, and after them Adam's means of the gradients, which are linear in the gradients; float64."""
    losses = torch.tensor(advance(trainer, 2), dtype=torch.float64)
    state = trainer.optimizer.state
    means = [state[p]["exp_avg"] for group in trainer.optimizer.param_groups for p in group["params"] if p in state]
    return {"losses": losses, "momentum": torch.cat([mean.to(CPU, torch.float64).flatten() for mean in means])}


def resuming(setting: Setting) -> Iterator[Row]:
    """Four steps, the same again, and two and two around a checkpoint; on GPUs also with deterministic algorithms."""
    gpu, chosen = setting.device.is_gpu, setting.options.precisions
    precision = next((one for one in ("tf32", "bf16") if one in chosen), "fp32") if gpu else "fp32"
    operators, found = repeated(setting, precision, "as-it-is")
    more: Row = {"status": "right"}
    if found["resumed"] > 0.0:
        why = "a resumed run differs, but two runs without a stop do not"
        more = {"status": "wrong", "why": why}
    if found["resumed"] > 0.0 and found["again"] > 0.0:
        why = "two runs without a stop differ as well: not all sums of this device have a fixed order"
        more = {"status": "told", "why": why, "unordered": {name: UNORDERED[name] for name in sorted(operators)}}
    yield {"name": f"resuming to the bit, {precision}, as it trains", "kind": "resuming", "differences": found, **more}
    if not gpu:
        return
    with deterministic() as warned:
        _, found = repeated(setting, precision, "deterministic")
    messages = [str(one.message) for one in warned if "determin" in str(one.message)]
    yield {
        "name": f"resuming to the bit, {precision}, by deterministic algorithms",
        "status": "right" if found["resumed"] == 0.0 else "wrong",
        "kind": "resuming",
        "differences": found,
        "without_deterministic_algorithm": sorted({one.split(" does not have")[0][:120] for one in messages}),
    }


def repeated(setting: Setting, precision: str, run: str) -> tuple[set[str], dict[str, float]]:
    """Trains four steps three times: without a stop, without a stop again, and with a stop after two steps.

    The rate is raised to 0.001, so that a difference of gradients shows.

    Returns:
        The operators of :data:`UNORDERED` that ran, and how much the second (``again``) and the third run (``resumed``) differ
        from the first.
    """
    config = small(setting, precision, lr=1e-3)
    trainers = {name: setting.trainer(config, f"{run}-{name}") for name in ("whole", "again", "resumed")}
    with Operators(UNORDERED) as operators:
        advance(setting.trainer(config, f"{run}-named"), 1)
    stopped = trainers["resumed"]
    stopped.write_config()
    advance(stopped, 2)
    stopped.save()
    with contextlib.redirect_stdout(io.StringIO()):
        trainers["resumed"] = resume_run(config, World(device=setting.device.device), stopped.run)
    for trainer in trainers.values():
        advance(trainer, 4)
    whole = trainers["whole"]
    return operators.found, {name: difference(whole, trainers[name]) for name in ("again", "resumed")}


def difference(one: Trainer, other: Trainer) -> float:
    """The largest difference of any weight or number of the optimizer; 0 only if all bits are the same."""
    states = [tree_leaves([x.network.state_dict(), x.optimizer.state_dict()]) for x in (one, other)]
    if len(states[0]) != len(states[1]) or one.step != other.step:
        return math.inf
    largest = 0.0
    for mine, theirs in zip(*states, strict=True):
        if isinstance(mine, Tensor) and not torch.equal(mine, theirs):
            gap = (mine.double() - theirs.double()).abs().max().item()
            largest = max(largest, math.inf if math.isnan(gap) else gap)
        elif not isinstance(mine, Tensor) and mine != theirs:
            return math.inf
    return largest


@contextlib.contextmanager
def deterministic() -> Iterator[list[warnings.WarningMessage]]:
    """Allows CUDA deterministic algorithms only; yields the warnings of operators that have none."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield warned
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which of some operators run.

    Args:
        names: the beginnings of their names: ``index_add`` is also ``index_add_``.
    """

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names, self.found = names, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator."""
        name = func.overloadpacket.__name__.strip("_")
        self.found |= {known for known in self.names if name.startswith(known)}
        return func(*args, **(kwargs or {}))


def loading(setting: Setting) -> Iterator[Row]:
    """Batches of loader processes while the device works, against those that the main process reads alone."""
    workers = min(4, cores())
    count = 3 * workers + 2  # more than the processes make before the device is busy
    trainer = setting.trainer(small(setting), "busy")
    batch = setting.batch(4)
    quiet = read(setting, 0, count, nullcontext())
    beside = read(setting, workers, count, setting.device.busy(lambda: trainer.train_step(batch)))
    wrong = sum(not _same(one, other) for one, other in zip(quiet, beside, strict=True))
    yield {
        "name": f"loader, {workers} processes beside the busy device",
        "status": "wrong" if wrong else "right",
        "kind": "loader",
        "batches": count,
        "wrong": wrong,
        "submasks": sum(int(one.labels.flatten(1).amax(1).long().sum()) for one in quiet),
        "steps_beside": trainer.step,
    }


def read(setting: Setting, workers: int, count: int, beside: AbstractContextManager[None]) -> list[Packed]:
    """So many training batches, all but the first inside a context: no thread should work while processes start."""
    batches = iter(setting.trainer(small(setting, workers=workers), f"read-{workers}", repeat=True).loader)
    found = [next(batches)]
    with beside:
        found += islice(batches, count - 1)
    return found


def _same(one: Packed, other: Packed) -> bool:
    return one.items == other.items and all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
