"""Whether the device trains as it should: as the CPU does, to the same bits after a stop, with loaders that read the same."""

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from frih.common.distributed import CPU, World
from frih.common.processes import cores
from frih.config import Config
from frih.data.batches import Packed
from frih.data.dataset import CompositeDataset
from frih.data.loader import GlobalBatchSampler, training_loader
from frih.tools.machine.record import Row, Task, judged, skipped
from frih.tools.machine.right import allowed, relative
from frih.tools.machine.setting import Setting, with_changes
from frih.training.runs import resume_run
from frih.training.trainer import Trainer

UNORDERED = {
    "index_add": "sums by atomic additions; also the gradient of index_select, which cuts tiles out of features",
    "scatter_add": "sums by atomic additions; of ones here, which is exact in any order",
    "index_put": "deterministic where it sums, for it sorts first",
    "convolution_backward": "cuDNN may choose an algorithm of atomic additions",
    "upsample_bilinear2d_backward": "sums by atomic additions, and has no other way; the dense head alone has it",
}
"""Operators whose sums CUDA may take in another order each time, by PyTorch's notes on ``use_deterministic_algorithms``."""


def tasks(setting: Setting) -> list[Task]:
    """Two steps in each precision, resuming, and the loader."""
    return [
        Task("right", "two steps of training", partial(two_steps, setting), 0.6),
        Task("right", "resuming", partial(resuming, setting), 0.6),
        Task("right", "loader beside the busy device", partial(loading, setting), 0.65),
    ]


def small(setting: Setting, precision: str, **train: Any) -> Config:
    """A recipe of four images a step, read by the main process."""
    config = setting.recipe(precision=precision, **{"batch": 4, **train})
    if not config.model.cascade:
        config = setting.recipe("base network", precision=precision, **{"batch": 4, **train})
    return with_changes(config, {"data": {"workers": 0}})


def advance(trainer: Trainer, steps: int) -> list[float]:
    """Trains until so many steps are made, as the trainer does between two validations.

    Returns:
        The mean loss of each step.
    """
    losses = []
    while trainer.step < steps:
        trainer.order.seek(*divmod(trainer.step, len(trainer.order)))
        for packed in islice(trainer.loader, steps - trainer.step):
            made = trainer.train_step(packed.unpack(trainer.world.device))
            losses.append(made.total.mean().item())
    return losses


class Trained(NamedTuple):
    """Where a few steps led."""

    losses: Tensor
    """(steps,), float64."""
    momentum: Tensor
    """Adam's mean of the gradients, of all weights in one row: linear in the gradients, as the weights themselves are not."""


def train(trainer: Trainer, steps: int = 2) -> Trained:
    """Makes a few steps."""
    losses = torch.tensor(advance(trainer, steps), dtype=torch.float64)
    state = trainer.optimizer.state
    means = [state[p]["exp_avg"] for group in trainer.optimizer.param_groups for p in group["params"] if p in state]
    return Trained(losses, torch.cat([mean.detach().to(CPU, torch.float64).flatten() for mean in means]))


def two_steps(setting: Setting) -> Iterator[Row]:
    """In each precision against float32 on the CPU; where the device is the CPU, against the other layout of features.

    At a low rate: a first step of Adam goes by the sign of each gradient, and would magnify the rounding of those near 0.
    """
    gpu = setting.device.is_gpu
    reference = train(setting.trainer(small(setting, "fp32", channels_last=gpu, lr=1e-5), "cpu", world=World()))
    for precision in setting.precisions:
        name = f"two steps, {precision}"
        if not gpu and precision in ("tf32", "fp16"):
            yield skipped(
                name, "GPUs alone have it" if precision == "tf32" else "scaled losses are tried on GPUs alone"
            )
            continue
        config = small(setting, precision, lr=1e-5)
        trainer = setting.trainer(config, f"device-{precision}")
        if precision == "fp16":  # at the usual first scale the first steps may overflow, and are then left out
            trainer.scaler = torch.amp.GradScaler(setting.device.device.type, init_scale=64.0)
        found = train(trainer)
        errors = {
            "losses": relative(found.losses, reference.losses),
            "momentum": relative(found.momentum, reference.momentum),
        }
        bounds = allowed(precision, config.train.batch * config.data.size**2)
        # twice, for both sides round
        limits = {"losses": 2 * bounds["training"], "momentum": 2 * bounds["gradient"]}
        yield judged(name, errors, limits, kind="training", precision=precision, losses=found.losses.tolist())


def resuming(setting: Setting) -> Iterator[Row]:
    """Four steps, the same again, and two with two more after a checkpoint; on GPUs also by deterministic algorithms alone."""
    precision = next((one for one in ("tf32", "bf16", "fp32") if one in setting.precisions), "fp32")
    precision = precision if setting.device.is_gpu else "fp32"
    found = repeated(setting, precision, "as-it-is")
    operators = found.pop("operators")
    name = f"resuming to the bit, {precision}, as it trains"
    if found["resumed"] == 0.0:
        yield {"name": name, "status": "right", "kind": "resuming", "differences": found}
    elif found["again"] > 0.0:
        why = "two runs that nothing stopped differ as well: not all sums of this device have a fixed order"
        yield {
            "name": name,
            "status": "told",
            "kind": "resuming",
            "differences": found,
            "why": why,
            "unordered": operators,
        }
    else:
        why = "a run that went on differs, though two that nothing stopped do not"
        yield {"name": name, "status": "wrong", "kind": "resuming", "differences": found, "why": why}
    if not setting.device.is_gpu:
        return
    with deterministic() as told:
        found = repeated(setting, precision, "deterministic")
    found.pop("operators")
    right = found["resumed"] == 0.0
    yield {
        "name": f"resuming to the bit, {precision}, by deterministic algorithms",
        "status": "right" if right else "wrong",
        "kind": "resuming",
        "differences": found,
        "without_deterministic_algorithm": sorted(
            {str(one.message).split(" does not have")[0][:120] for one in told if "determin" in str(one.message)}
        ),
    }


def repeated(setting: Setting, precision: str, run: str) -> dict[str, Any]:
    """The largest difference of any weight or state after four steps: of a second run, and of one that went on after two.

    The rate is raised to 0.001, so that a difference of gradients shows.
    """
    config = small(setting, precision, lr=1e-3)
    names = Operators(UNORDERED)
    with names:
        advance(setting.trainer(config, f"{run}-named"), 1)
    whole = setting.trainer(config, f"{run}-whole")
    advance(whole, 4)
    again = setting.trainer(config, f"{run}-again")
    advance(again, 4)
    stopped = setting.trainer(config, f"{run}-resumed")
    stopped.write_config()
    advance(stopped, 2)
    stopped.save()
    with contextlib.redirect_stdout(io.StringIO()):
        resumed = resume_run(config, World(device=setting.device.device), stopped.run)
    advance(resumed, 4)
    return {
        "again": difference(whole, again),
        "resumed": difference(whole, resumed),
        "operators": {name: UNORDERED[name] for name in sorted(names.found)},
    }


def difference(one: Trainer, other: Trainer) -> float:
    """The largest of any number that two trainers would save; 0 only where all bits are the same."""
    states = [_numbers([trainer.network.state_dict(), trainer.optimizer.state_dict()]) for trainer in (one, other)]
    if len(states[0]) != len(states[1]) or one.step != other.step:
        return float("inf")
    largest = 0.0
    for mine, theirs in zip(*states, strict=True):
        if not torch.equal(mine, theirs):
            gap = (mine.double() - theirs.double()).abs().max().item()
            largest = max(largest, math.inf if math.isnan(gap) else gap)
    return largest


@contextlib.contextmanager
def deterministic() -> Iterator[list[warnings.WarningMessage]]:
    """Lets CUDA use deterministic algorithms alone; gives the warnings of operators that have none."""
    before, warning = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield told
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warning)


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which of some operators run, by the beginnings of their names.

    Args:
        names: as ``index_add``, which is also ``index_add_``.
    """

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names, self.found = names, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator."""
        name = func.overloadpacket.__name__.strip("_")
        self.found |= {known for known in self.names if name.startswith(known)}
        return func(*args, **(kwargs or {}))


def loading(setting: Setting) -> Iterator[Row]:
    """The batches of loader processes while the device is at work, against those that the main process reads in peace."""
    config = small(setting, "fp32")
    workers = min(4, cores())
    count = 3 * workers + 2  # more than the processes make before the device is busy
    quiet = read(setting, config, 0, count, contextlib.nullcontext())
    trainer = setting.trainer(config, "busy")
    batch = setting.batch(4)
    beside = read(setting, config, workers, count, setting.device.busy(lambda: trainer.train_step(batch)))
    wrong = sum(not same(one, other) for one, other in zip(quiet, beside, strict=True))
    yield {
        "name": f"loader, {workers} processes beside the busy device",
        "status": "wrong" if wrong else "right",
        "kind": "loader",
        "batches": count,
        "wrong": wrong,
        "submasks": sum(int(one.labels.flatten(1).amax(1).long().sum()) for one in quiet),
        "steps_beside": trainer.step,
    }


def read(
    setting: Setting, config: Config, workers: int, count: int, beside: contextlib.AbstractContextManager[None]
) -> list[Packed]:
    """So many batches of training, all but the first in some context: no thread should be at work while processes start."""
    images = CompositeDataset(setting.listing.items, config.data, config.submasks, config.seed)
    order = GlobalBatchSampler(len(images), config.train.batch, seed=config.seed, world=World())
    loader = training_loader(images, order, workers, pin=setting.device.is_gpu)

    def epochs() -> Iterator[Packed]:
        for epoch in range(count):
            order.seek(epoch, 0)
            yield from loader

    batches = epochs()
    found = [next(batches)]
    with beside:
        found += islice(batches, count - 1)
    return found


def same(one: Packed, other: Packed) -> bool:
    """Whether two batches are the same, image for image and bit for bit."""
    return one.items == other.items and all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))


def _numbers(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        return [tensor for value in tree.values() for tensor in _numbers(value)]
    if isinstance(tree, list | tuple):
        return [tensor for value in tree for tensor in _numbers(value)]
    return [torch.tensor(float(tree), dtype=torch.float64)] if isinstance(tree, int | float) else []
