"""How fast the device trains and infers, how much memory that takes, where the time goes, and whether the loader keeps up."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch

from frih.common.processes import cores
from frih.data.batches import Batch, Packed
from frih.tools.machine.device import GIB, out_of_memory
from frih.tools.machine.record import Record, Row, skipped
from frih.tools.machine.setting import Setting, with_changes
from frih.training.profiling import WARM_UP
from frih.training.trainer import Trainer

MODES = ("training", "inference")
"""``training``: the trainer's step, that is forward, loss, backward, optimizer. ``inference``: forward in evaluation mode."""
PROFILED = 3
"""Steps whose parts are timed."""


def speeds(setting: Setting, record: Record, network: str, mode: str, precision: str) -> Iterator[Row]:
    """A row for each batch, from small to large. Once a batch is skipped, all larger ones are."""
    name = f"{network}, {mode}, {precision}"
    trainer = setting.trainer(setting.recipe(network, precision, batch=1, lr=1e-5), f"speed-{name}")
    rounds = {"least_rounds": 3} if setting.device.is_gpu else {"warm": 1, "least": 0.5, "least_rounds": 2}
    before: Row | None = None
    first_skipped = None
    for count in setting.options.batches:
        about = {"network": network, "mode": mode, "precision": precision, "compiled": False, "batch": count}
        title = f"{name}, batch {count}"
        why = (
            f"batch {first_skipped} was skipped already" if first_skipped else too_much(setting, record, before, count)
        )
        if why is None:
            try:
                batch = setting.batch(count)
                found = timed(setting, worker(trainer, mode, [batch]), count, **rounds)
                yield (before := {"name": title, "status": "measured", **about, **found, **describe(batch)})
                continue
            except Exception as error:
                if not out_of_memory(error):
                    raise
                why = "does not fit the memory"
        first_skipped = first_skipped or count
        trainer.optimizer.zero_grad(set_to_none=True)
        setting.device.free()
        yield skipped(title, why, **about)


def timed(setting: Setting, work: Callable[[], None], count: int, **rounds: float) -> Row:
    """Seconds of a step, images a second, and the peak of memory."""
    setting.device.free()
    setting.device.forget_peak()
    seconds = setting.device.seconds(work, **rounds)  # type: ignore[arg-type]
    return {"seconds": seconds, "images_per_second": count / seconds, "peak_bytes": setting.device.peak()}


def worker(
    trainer: Trainer,
    mode: str,
    batches: list[Batch],
    no_gradient: Callable[[], contextlib.AbstractContextManager[object]] = torch.inference_mode,
) -> Callable[[], None]:
    """A function that does one step, or one inference, with the next batch each time."""
    turn = 0

    def work() -> None:
        nonlocal turn
        batch = batches[turn % len(batches)]
        turn += 1
        if mode == "training":
            trainer.train_step(batch)
            return
        with no_gradient(), trainer.autocast():
            trainer.model(batch.composite, batch.mask, batch.labels)

    trainer.model.train(mode == "training")
    return work


def describe(batch: Batch) -> Row:
    """The images' mean K and mean share of foreground."""
    return {
        "submasks": batch.labels.flatten(1).amax(1).float().mean().item(),
        "foreground": batch.mask.mean().item(),
    }


def too_much(setting: Setting, record: Record, before: Row | None, count: int) -> str | None:
    """Why a batch is not tried: the one before it shows that time, or a CPU's memory, would not suffice."""
    if before is None:
        return None
    ratio = count / before["batch"]
    seconds = ratio * before["seconds"] * (5 if setting.device.is_gpu else 3)
    if seconds > max(0.0, record.left(0.85)):
        return f"would take about {seconds:.0f} s, and the time is short (--minutes)"
    room, peak = setting.device.room(), before["peak_bytes"]
    if room is not None and peak is not None and ratio * peak > room + peak:
        return f"would take some {ratio * peak / GIB:.0f} GiB of memory, and {(room + peak) / GIB:.0f} are free"
    return None


def parts(setting: Setting, network: str) -> Iterator[Row]:
    """The parts of a training step in each precision, by the trainer's own profile."""
    most = 16 if setting.device.is_gpu else 4
    count = max((one for one in setting.options.batches if one <= most), default=setting.options.batches[0])
    for precision in setting.precisions(network):
        config = setting.recipe(network, precision, batch=1, lr=1e-5, profile=PROFILED)
        trainer = setting.trainer(config, f"parts-{precision}")
        packed, batch = setting.images(count), setting.batch(count)
        with contextlib.redirect_stdout(io.StringIO()):  # the profile prints a table
            for _ in range(WARM_UP + PROFILED):
                with trainer.profile.step(packed, 0.0):
                    trainer.train_step(batch)
        seconds = trainer.profile.parts()
        seconds.pop("data wait")
        yield {
            "name": f"{network}, training, {precision}, batch {count}",
            "status": "measured",
            "network": network,
            "precision": precision,
            "batch": count,
            "seconds": seconds,
            "clustering_seconds": trainer.profile.seconds["clustering"] / trainer.profile.profiled,
        }


def loader(setting: Setting, network: str) -> Iterator[Row]:
    """Images a second of one loader process a core: alone, beside the busy device, and as they feed a training."""
    workers, count = cores(), 16 if setting.device.is_gpu else 4
    span = 1.0 if setting.options.quick else 3.0
    precision = setting.precisions(network)[-1]
    config = with_changes(setting.recipe(network, precision, batch=count, lr=1e-5), {"data": {"workers": workers}})
    for run in ("loader alone", "loader beside the busy device", "training by the loader"):
        trainer = setting.trainer(config, run.replace(" ", "-"), repeat=True)
        batch = setting.batch(count)
        trainer.train_step(batch)
        batches = iter(trainer.loader)
        next(batches)  # starts the processes; no thread should work while they start
        busy = run == "loader beside the busy device"
        use = partial(_step, setting, trainer) if run == "training by the loader" else _nothing
        with setting.device.busy(partial(trainer.train_step, batch)) if busy else contextlib.nullcontext():
            found, waited = drain(batches, workers, span, use)
        about = {"workers": workers, "batch": count, "precision": precision, "made": setting.made}
        yield {"name": run, "status": "measured", "images_per_second": found, "waiting": waited, **about}


def _step(setting: Setting, trainer: Trainer, packed: Packed) -> None:
    trainer.train_step(packed.unpack(setting.device.device))
    setting.device.wait()


def _nothing(packed: Packed) -> None:
    pass


def drain(batches: Iterable[Packed], first: int, span: float, use: Callable[[Packed], object]) -> tuple[float, float]:
    """Uses batches for ``span`` seconds; returns images a second, and the share of the time spent waiting for batches.

    The ``first`` ones do not count, because all processes start at once.
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
