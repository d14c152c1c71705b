"""The whole check: which tasks, in which order, and what is printed of them."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from frih.common.processes import cores
from frih.common.progress import progress_bar
from frih.config import Config
from frih.tools.machine import compiled, fast, limit, right, steps, tables, together
from frih.tools.machine.advice import follows
from frih.tools.machine.device import Device, command, facts
from frih.tools.machine.record import Record, Task
from frih.tools.machine.setting import DENSE, Options, Setting, prepare


def check_machine(
    device: torch.device, config: Config, options: Options, path: Path, folder: Path, say: Callable[[str], None]
) -> Record:
    """Does everything the options ask for on a device, prints it, and writes each finding at once.

    Args:
        device: the device to check.
        config: the recipe. Without ``data.root`` images are made.
        options: from :func:`frih.tools.machine.setting.options_for`.
        path: the JSON file.
        folder: a temporary folder.
        say: prints a text.
    """
    own, machine = Device(device), facts(device)
    about = {"command": command(), "machine": machine, "size": config.data.size, "options": asdict(options)}
    record = Record(path, about, options.minutes, own)
    record.write()
    say(tables.heading(machine))
    threads = torch.get_num_threads()
    setting = prepare(own, config, folder, options)
    record.data["images"] = {"composites": len(setting.listing.items), "made": setting.made}
    groups = plan(setting, record)
    with progress_bar(total=sum(map(len, groups.values())), unit="task") as bar:
        for title, tasks in groups.items():
            for task in tasks:
                bar.set_description(f"{title}: {task.name}", refresh=False)
                for row in record.run(task):
                    if row["status"] in ("wrong", "failed"):
                        say(f"{row['status'].upper()}: {row['name']}{': ' + row['why'] if 'why' in row else ''}")
                bar.update()
            if title == "compiled":  # beside what it is compared with
                shown = [one for one in options.only if one != "limit"]
            else:
                shown = [] if title == "fast" and options.compile else [title]
            for text in (text for one in shown for text in found(one, record)):
                say(f"\n{text}")
    torch.set_num_threads(threads)
    if "fast" in options.only:
        record.data["follows"] = follows(record.data, config, gpus=len(machine["gpus"]), cores=cores())
        say("\n".join(["", "What follows", *(f"  {line}" for line in record.data["follows"]["lines"])]))
    record.write()
    return record


def plan(setting: Setting, record: Record) -> dict[str, list[Task]]:
    """Groups of tasks by title, with the share of the time at which each is skipped. What takes longest comes last."""
    options, names = setting.options, setting.networks
    groups: dict[str, list[Task]] = {}
    if "right" in options.only:
        checked = [name for name in names if name != DENSE or setting.device.is_gpu]
        groups["right"] = [
            *(Task("right", name, partial(right.exactness, setting, name), 0.5) for name in checked),
            Task("right", "synchronised normalisation", partial(together.check, setting), 0.55),
            Task("right", "two steps of training", partial(steps.two_steps, setting), 0.6),
            Task("right", "resuming", partial(steps.resuming, setting), 0.6),
            Task("right", "loader beside the busy device", partial(steps.loading, setting), 0.65),
        ]
    if "fast" in options.only or "limit" in options.only:
        first, *others = sorted(names, key=["FRIH", "base network", DENSE].index)
        speeds = {
            name: [
                Task(
                    "fast",
                    f"{name}, {mode}, {precision}",
                    partial(fast.speeds, setting, record, name, mode, precision),
                    0.75,
                )
                for mode in fast.MODES
                for precision in setting.precisions(name)
            ]
            for name in (first, *others)
        }
        groups["fast"] = [
            *speeds[first],
            Task("loader", "loader", partial(fast.loader, setting, first), 0.8),
            Task("parts", "parts of a step", partial(fast.parts, setting, first), 0.85),
            *(task for name in others for task in speeds[name]),
        ]
    if "limit" in options.only:
        groups["limit"] = [
            Task("rates", "bandwidth and matrix rate", partial(limit.rates, setting), 0.95),
            Task("limit", "what the device allows", partial(limit.limits, setting, record), 0.95),
        ]
    if options.compile:
        shared = [name for name in names if name != DENSE]
        groups["compiled"] = [
            Task("fast", f"{name}, compiled", partial(compiled.check, setting, record, name, len(shared) - i))
            for i, name in enumerate(shared)
        ]
    return groups


def found(title: str, record: Record) -> list[str]:
    """The tables of a group."""
    rows = record.rows
    if title == "right":
        return tables.right(rows("right"))
    if title == "fast":
        return [*tables.fast(rows("fast")), *tables.parts(rows("parts")), *tables.loader(rows("loader"))]
    return tables.limit(rows("rates"), rows("limit"))
