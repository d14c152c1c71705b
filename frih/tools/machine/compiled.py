"""``torch.compile``, in a process of its own: compiling takes minutes, and only the end of the process can stop it."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from frih.tools.machine.fast import describe, timed, worker
from frih.tools.machine.limit import fastest
from frih.tools.machine.record import NO_TIME, Record, Row, failed, skipped
from frih.tools.machine.right import compared, outcome, reference
from frih.tools.machine.setting import Setting, trained_like

SHORTEST = 15.0
"""Compiling does not begin with less time than so many seconds."""


def check(setting: Setting, record: Record, network: str, shares: int) -> Iterator[Row]:
    """The rows of a network at its fastest uncompiled precision and batch, within one of so many shares of the time left."""
    known = [row for row in fastest(record) if row["network"] == network and row["mode"] == "training"]
    best = max(known, key=lambda row: row["images_per_second"], default=None)
    precision = best["precision"] if best else setting.options.precisions[-1]
    count = best["batch"] if best else setting.options.batches[0]
    if record.left() / shares < SHORTEST:
        yield skipped(f"{network}, {precision}, compiled", NO_TIME)
        return
    reference(setting, network)  # here, so that the process need not compute it
    yield from in_process(setting, network, precision, count, record.left() / shares)


def in_process(setting: Setting, network: str, precision: str, count: int, seconds: float) -> Iterator[Row]:
    """The rows that a process sends. It is killed after so many seconds."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    arguments = (send, torch.get_num_threads(), setting, network, precision, count)
    process = context.Process(target=_send_rows, args=arguments)
    process.start()
    send.close()
    end = time.monotonic() + seconds
    try:
        with suppress(EOFError):  # the process has ended
            while receive.poll(max(0.0, end - time.monotonic())):
                yield receive.recv()
            why = f"the rest was not ready after {seconds:.0f} s of compiling (--minutes)"
            yield skipped(f"{network}, {precision}, compiled", why)
    finally:
        process.kill()
        process.join()
        receive.close()


def _send_rows(send: Connection, threads: int, setting: Setting, network: str, precision: str, count: int) -> None:
    torch.set_num_threads(threads)
    try:
        for row in rows(setting, network, precision, count):
            send.send(row)
    except Exception as error:
        send.send(failed(f"{network}, {precision}, compiled", error))


def rows(setting: Setting, network: str, precision: str, count: int) -> Iterator[Row]:
    """Training's speed, its exactness, inference's speed. The first call of each compiles.

    Batches take turns: the first one with another number of submasks compiles again, and then for any number.
    """
    config = setting.recipe(network, precision, batch=1, lr=1e-5, compile=True)
    trainer = setting.trainer(config, f"compiled-{network}")
    batches = [setting.batch(count, first) for first in (0, 1, 3)]
    about = {"network": network, "precision": precision, "compiled": True, "batch": count, **describe(batches[0])}

    def speed(mode: str) -> Row:
        work = worker(trainer, mode, batches)
        begun = time.monotonic()
        for _ in range(2 * len(batches)):
            work()
        setting.device.wait()
        compiling = time.monotonic() - begun
        name = f"{network}, {mode}, {precision}, batch {count}, compiled"
        found = timed(setting, work, count, least=0.5)
        return {"name": name, "status": "measured", **about, "mode": mode, **found, "compiling_seconds": compiling}

    if "fast" in setting.options.only:
        yield speed("training")
    if "right" in setting.options.only:
        trainer.network.load_state_dict(trained_like(config).state_dict())
        found = outcome(trainer.network, reference(setting, network)[0], config, precision)
        yield compared(setting, network, precision, found, "compiled", section="right", compiled=True)
    if "fast" in setting.options.only:
        yield speed("inference")
