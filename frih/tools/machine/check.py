"""The whole check: which tasks, in which order, and what is printed of them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from frih.common.processes import cores
from frih.common.progress import progress_bar
from frih.config import Config
from frih.tools.machine import compiled, fast, limit, right, steps, tables, together
from frih.tools.machine.advice import follows
from frih.tools.machine.device import Device, command, facts
from frih.tools.machine.record import Record, Task
from frih.tools.machine.setting import Options, Setting, prepare


def check_machine(
    device: torch.device, config: Config, options: Options, path: Path, folder: Path, say: Callable[[str], None]
) -> Record:
    """Does everything the options ask for, and writes each finding at once.

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
    """Groups of tasks by title. What takes longest, and may be cut short, comes last."""
    options = setting.options
    groups: dict[str, list[Task]] = {}
    if "right" in options.only:
        groups["right"] = [*right.tasks(setting), *together.tasks(setting), *steps.tasks(setting)]
    if "fast" in options.only or "limit" in options.only:
        groups["fast"] = fast.tasks(setting, record)
    if "limit" in options.only:
        groups["limit"] = limit.tasks(setting, record)
    if options.compile:
        groups["compiled"] = compiled.tasks(setting, record)
    return groups


def found(title: str, record: Record) -> list[str]:
    """The tables of a group."""
    rows = record.rows
    if title == "right":
        return tables.right(rows("right"))
    if title == "fast":
        return [*tables.fast(rows("fast")), *tables.parts(rows("parts")), *tables.loader(rows("loader"))]
    return tables.limit(rows("rates"), rows("limit"))
