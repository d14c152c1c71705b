"""How fast the device trains and infers, what memory that takes, where the time goes, and whether the loader keeps up."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch

from frih.common.processes import cores
from frih.data.batches import Batch, Packed
from frih.tools.machine.device import out_of_memory
from frih.tools.machine.record import Record, Row, Task, skipped
from frih.tools.machine.setting import Setting, set_tf32, with_changes
from frih.training.profiling import WARM_UP
from frih.training.trainer import Trainer

MODES = ("training", "inference")
"""``training``: forward, loss, backward, optimizer, by the trainer itself. ``inference``: forward, in evaluation mode."""

PROFILED = 3
"""Steps whose parts are timed."""


def tasks(setting: Setting, record: Record) -> list[Task]:
    """Speeds, the most wanted first; then the loader, and the parts of a step."""
    names = sorted(setting.networks, key=["FRIH", "base network", "FRIH, dense"].index)
    found = [
        Task("fast", f"{name}, {mode}, {precision}", partial(speeds, setting, record, name, mode, precision), 0.75)
        for name in names
        for mode in MODES
        for precision in precisions_of(setting, name)
    ]
    first = names[0]
    common = [
        Task("loader", "loader", lambda: loader(setting, first), 0.8),
        Task("parts", "parts of a step", lambda: parts(setting, first), 0.85),
    ]
    wanted = 2 * len(precisions_of(setting, first))
    return [*found[:wanted], *common, *found[wanted:]]


def precisions_of(setting: Setting, network: str) -> list[str]:
    """The dense form is compared in what the default would be trained in, and quickly in one."""
    chosen = [one for one in setting.precisions if one != "tf32" or setting.device.is_gpu]
    if network != "FRIH, dense":
        return chosen
    if setting.quick:
        return chosen[-1:] if setting.device.is_gpu else []
    return [one for one in chosen if one in ("tf32", "bf16")] or chosen[:1]


def speeds(setting: Setting, record: Record, network: str, mode: str, precision: str) -> Iterator[Row]:
    """A row for each batch, the small ones first; what the memory does not hold is skipped, and so are larger ones."""
    name = f"{network}, {mode}, {precision}"
    trainer = setting.trainer(setting.recipe(network, precision, batch=1, lr=1e-5), f"speed-{name}")
    before: Row | None = None
    for count in setting.batches:
        about = {"network": network, "mode": mode, "precision": precision, "compiled": False, "batch": count}
        why = too_much(setting, record, before, count)
        if why is None:
            try:
                before = speed(setting, trainer, mode, count, f"{name}, batch {count}", about)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                why = "does not fit the memory"
        if why is None and before is not None:
            yield before
            continue
        trainer.optimizer.zero_grad(set_to_none=True)
        setting.device.free()
        for larger in (one for one in setting.batches if one >= count):
            told = why if larger == count else f"batch {count} was skipped already"
            yield skipped(f"{name}, batch {larger}", str(told), **{**about, "batch": larger})
        return


def speed(setting: Setting, trainer: Trainer, mode: str, count: int, name: str, about: dict[str, Any]) -> Row:
    """Images a second and the peak of memory at one batch."""
    device = setting.device
    batch = setting.batch(count)
    work = worker(setting, trainer, mode, [batch])
    rounds = (
        {"warm": 2, "least": 0.3, "least_rounds": 3} if device.is_gpu else {"warm": 1, "least": 0.5, "least_rounds": 2}
    )
    device.free()
    device.forget_peak()
    seconds = device.seconds(work, **rounds)  # type: ignore[arg-type]
    return {
        "name": name,
        "status": "measured",
        **about,
        "seconds": seconds,
        "images_per_second": count / seconds,
        "peak_bytes": device.peak(),
        **describe(batch),
    }


def worker(setting: Setting, trainer: Trainer, mode: str, batches: list[Batch]) -> Callable[[], None]:
    """What does one step, or one inference, with the next of some batches."""
    turn = 0
    set_tf32(trainer.config.train.tf32)

    def work() -> None:
        nonlocal turn
        batch = batches[turn % len(batches)]
        turn += 1
        if mode == "training":
            trainer.train_step(batch)
            return
        with torch.inference_mode(), trainer._autocast():
            trainer.model(batch.composite, batch.mask, batch.labels)

    trainer.model.train(mode == "training")
    return work


def describe(batch: Batch) -> Row:
    """What the images are like: K and the share of the foreground, in the mean."""
    return {
        "submasks": batch.labels.flatten(1).amax(1).float().mean().item(),
        "foreground": sum(batch.fg_ratio) / len(batch.fg_ratio),
    }


def too_much(setting: Setting, record: Record, before: Row | None, count: int) -> str | None:
    """Why a batch is not tried: judging by the one before it takes too long, or on a CPU more memory than there is."""
    if before is None:
        return None
    ratio = count / before["batch"]
    rounds = 5 if setting.device.is_gpu else 3
    if ratio * before["seconds"] * rounds > max(0.0, record.left(0.85)):
        return f"would take about {ratio * before['seconds'] * rounds:.0f} s, and the time is short (--minutes)"
    room, peak = setting.device.room(), before["peak_bytes"]
    if room is not None and peak is not None and ratio * peak > room + peak:
        return f"would take some {ratio * peak / 2**30:.0f} GiB of memory, and {(room + peak) / 2**30:.0f} are free"
    return None


def parts(setting: Setting, network: str) -> Iterator[Row]:
    """Where the time of a training step goes, in each precision, by the trainer's own profile."""
    count = 16 if setting.device.is_gpu else 4
    count = max((one for one in setting.batches if one <= count), default=setting.batches[0])
    for precision in precisions_of(setting, network):
        config = setting.recipe(network, precision, batch=1, lr=1e-5, profile=PROFILED)
        trainer = setting.trainer(config, f"parts-{precision}")
        packed, batch = setting.images(count), setting.batch(count)
        with contextlib.redirect_stdout(io.StringIO()):  # its own table
            for _ in range(WARM_UP + PROFILED):
                with trainer.profile.step(packed, 0.0):
                    trainer.train_step(batch)
        found = trainer.profile.parts()
        found.pop("data wait")
        yield {
            "name": f"{network}, training, {precision}, batch {count}",
            "status": "measured",
            "network": network,
            "precision": precision,
            "batch": count,
            "seconds": found,
            "clustering_seconds": trainer.profile.seconds["clustering"] / trainer.profile.profiled,
        }


def loader(setting: Setting, network: str) -> Iterator[Row]:
    """Images a second of as many loader processes as cores: alone, beside the busy device, and feeding it."""
    workers, count = cores(), 16 if setting.device.is_gpu else 4
    span = 1.0 if setting.quick else 3.0
    precision = precisions_of(setting, network)[-1]
    config = with_changes(setting.recipe(network, precision, batch=count, lr=1e-5), {"data": {"workers": workers}})
    about = {"workers": workers, "batch": count, "precision": precision, "made": setting.made}

    def rate(run: str, use: Callable[[Trainer, Packed], object], busy: bool) -> Row:
        trainer = setting.trainer(config, f"loader-{run}", repeat=True)
        batch = setting.batch(count)
        trainer.train_step(batch)
        context = setting.device.busy(lambda: trainer.train_step(batch)) if busy else contextlib.nullcontext()
        batches = iter(trainer.loader)
        next(batches)  # starts the processes, amid which no thread should be at work
        with context:
            found, waited = drain(batches, workers, span, lambda packed: use(trainer, packed))
        return {"name": run, "status": "measured", "images_per_second": found, "waiting": waited, **about}

    yield rate("loader alone", lambda trainer, packed: None, False)
    yield rate("loader beside the busy device", lambda trainer, packed: None, True)
    yield rate("training by the loader", lambda trainer, packed: _step(setting, trainer, packed), False)


def _step(setting: Setting, trainer: Trainer, packed: Packed) -> None:
    trainer.train_step(packed.unpack(setting.device.device))
    setting.device.wait()


def drain(batches: Iterable[Packed], first: int, span: float, use: Callable[[Packed], object]) -> tuple[float, float]:
    """Images a second, and the share of the time that they were waited for.

    Args:
        batches: enough of them.
        first: so many do not count, for the processes begin all at once.
        span: seconds to watch.
        use: what is done with each.
    """
    images, waited, begun = 0, 0.0, time.perf_counter()
    asked = begun
    for number, packed in enumerate(batches, 1):
        got = time.perf_counter()
        use(packed)
        now = time.perf_counter()
        if number <= first:
            begun = now
        else:
            images, waited = images + len(packed.items), waited + got - asked
            if now - begun >= span:
                break
        asked = now
    taken = time.perf_counter() - begun
    return images / taken, waited / taken
