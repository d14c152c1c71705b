"""``torch.compile``, in a process of its own: compiling takes minutes, and nothing but an end of the process stops it."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch

from frih.data.batches import Batch
from frih.tools.machine.fast import describe, worker
from frih.tools.machine.limit import fastest
from frih.tools.machine.record import NO_TIME, Record, Row, Task, failed, judged, skipped
from frih.tools.machine.right import Exactness, Outcome, allowed, errors, outcome
from frih.tools.machine.setting import Setting, trained_like

SHORTEST = 15.0
"""Seconds below which compiling is not begun."""


def tasks(setting: Setting, record: Record, sections: list[str]) -> list[Task]:
    """The base network, then FRIH, in the precision and at the batch that are fastest uncompiled."""
    names = [name for name in setting.networks if name != "FRIH, dense"]
    return [
        Task("fast", f"{name}, compiled", partial(check, setting, record, name, len(names) - i, sections))
        for i, name in enumerate(names)
    ]


def check(setting: Setting, record: Record, network: str, shares: int, sections: list[str]) -> Iterator[Row]:
    """Speed and exactness of one compiled network, within one of so many shares of the time that is left."""
    known = [row for row in fastest(record) if row["network"] == network and row["mode"] == "training"]
    best = max(known, key=lambda row: row["images_per_second"], default=None)
    precision = best["precision"] if best else setting.precisions[-1]
    count = best["batch"] if best else setting.batches[0]
    name = f"{network}, {precision}, compiled"
    seconds = record.left() / shares
    if seconds < SHORTEST:
        yield skipped(name, NO_TIME)
        return
    batch, reference = Exactness(setting, network).reference()
    yield from in_process(
        (setting, network, precision, count, batch, reference, sections), record.left() / shares, name
    )


def in_process(arguments: tuple[Any, ...], seconds: float, name: str) -> Iterator[Row]:
    """The rows that a process sends until it ends, or is ended after so many seconds."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_member, args=(send, torch.get_num_threads(), *arguments))
    process.start()
    send.close()
    end = time.monotonic() + seconds
    try:
        with suppress(EOFError):  # which the end of the process is
            while receive.poll(max(0.0, end - time.monotonic())):
                yield receive.recv()
            yield skipped(name, f"the rest was not ready after {seconds:.0f} s of compiling (--minutes)")
    finally:
        process.kill()
        process.join()
        receive.close()


def _member(
    send: Connection,
    threads: int,
    setting: Setting,
    network: str,
    precision: str,
    count: int,
    batch: Batch,
    reference: Outcome,
    sections: list[str],
) -> None:
    torch.set_num_threads(threads)
    try:
        for row in rows(setting, network, precision, count, batch, reference, sections):
            send.send(row)
    except Exception as error:
        send.send(failed(f"{network}, {precision}, compiled", error))


def rows(
    setting: Setting, network: str, precision: str, count: int, batch: Batch, reference: Outcome, sections: list[str]
) -> Iterator[Row]:
    """Training's speed, its exactness, inference's speed; the first call of each compiles.

    The batches take turns, for a batch of another number of submasks is compiled anew, the number being left open then.
    """
    config = setting.recipe(network, precision, batch=1, lr=1e-5, compile=True)
    trainer = setting.trainer(config, f"compiled-{network}")
    batches = [setting.batch(count, first) for first in (0, 1, 3)]
    about = {"network": network, "precision": precision, "compiled": True, "batch": count, **describe(batches[0])}

    def speed(mode: str) -> Row:
        work = worker(setting, trainer, mode, batches)
        begun = time.monotonic()
        for _ in range(2 * len(batches)):
            work()
        setting.device.wait()
        compiling = time.monotonic() - begun
        setting.device.forget_peak()
        seconds = setting.device.seconds(work, least=0.5)
        name = f"{network}, {mode}, {precision}, batch {count}, compiled"
        rate = {"seconds": seconds, "images_per_second": count / seconds, "peak_bytes": setting.device.peak()}
        return {"name": name, "status": "measured", **about, "mode": mode, **rate, "compiling_seconds": compiling}

    if "fast" in sections:
        yield speed("training")
    if "right" in sections:
        trainer.network.load_state_dict(trained_like(config).state_dict())
        found = outcome(trainer.network, batch, config, precision)
        bounds = allowed(precision, batch.labels.numel(), max(config.model.base_widths))
        more = {"kind": "arithmetic", "section": "right", "network": network, "precision": precision, "compiled": True}
        yield judged(f"{network}, {precision}, compiled", errors(found, reference, batch.composite), bounds, **more)
    if "fast" in sections:
        yield speed("inference")
