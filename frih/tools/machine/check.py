"""The whole check: which pieces, in which order, and what is said of them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from frih.common.processes import cores
from frih.common.progress import progress_bar
from frih.config import Config
from frih.tools.machine import compiled, fast, limit, right, steps, tables, together
from frih.tools.machine.advice import follows
from frih.tools.machine.device import Device, command, facts
from frih.tools.machine.record import Record, Task
from frih.tools.machine.setting import PRECISIONS, Setting, prepare


@dataclass(frozen=True)
class Options:
    """What is asked for; None: what suits the device."""

    quick: bool = False
    only: tuple[str, ...] = ("right", "fast", "limit")
    precisions: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    minutes: float | None = None
    compile: bool | None = None

    def completed(self, gpu: bool) -> "Options":
        """With what suits a GPU, or a CPU: there float16 has no fast arithmetic, and compiling does not pay."""
        fewer = self.quick
        if gpu:
            precisions = ("tf32", "bf16") if fewer else tuple(PRECISIONS)
            batches: tuple[int, ...] = (16, 128) if fewer else (1, 16, 32, 64, 128)
            minutes = 1.0 if fewer else 3.0
        else:
            precisions, batches, minutes = ("fp32", "bf16"), ((1, 4) if fewer else (1, 4, 16)), 3.0 if fewer else 10.0
        return Options(
            self.quick,
            self.only,
            self.precisions or precisions,
            self.batches or batches,
            self.minutes or minutes,
            gpu and not self.quick if self.compile is None else self.compile,
        )


def check_machine(
    device: torch.device, config: Config, options: Options, path: Path, folder: Path, say: Callable[[str], None]
) -> Record:
    """Does all that is asked for, and writes it as it comes.

    Args:
        device: to be looked at.
        config: the recipe, with ``data.root`` or without.
        options: what is asked for.
        path: of the JSON file.
        folder: a temporary one.
        say: prints.
    """
    own = Device(device)
    options = options.completed(own.is_gpu)
    assert options.precisions is not None
    assert options.batches is not None
    assert options.minutes is not None
    machine = facts(device)
    about = {"command": command(), "machine": machine, "size": config.data.size, "options": asdict(options)}
    record = Record(path, about, options.minutes, own)
    record.write()
    say(tables.heading(machine))
    threads = torch.get_num_threads()
    setting = prepare(own, config, folder, options.precisions, options.batches, options.quick)
    record.data["images"] = {"composites": len(setting.listing.items), "made": setting.made}
    groups = plan(setting, record, options)
    with progress_bar(total=sum(len(tasks) for _, tasks in groups), unit="task") as bar:
        for title, tasks in groups:
            for task in tasks:
                bar.set_description(f"{title}: {task.name}", refresh=False)
                for row in record.run(task):
                    if row["status"] in ("wrong", "failed"):
                        say(f"{row['status'].upper()}: {row['name']}{': ' + row['why'] if 'why' in row else ''}")
                bar.update()
            if title == "compiled" or (title == "fast" and options.compile):
                continue  # told at the end, with what they are compared with
            for text in told(title, record):
                say("\n" + text)
    torch.set_num_threads(threads)
    if options.compile:
        for title in ("right", "fast"):
            for text in told(title, record) if title in options.only else []:
                say("\n" + text)
    if "fast" in options.only:
        found = follows(record.data, config, gpus=len(machine["gpus"]), cores=cores())
        record.data["follows"] = found
        say("\n".join(["", "What follows", *(f"  {line}" for line in found["lines"])]))
    record.write()
    return record


def plan(setting: Setting, record: Record, options: Options) -> list[tuple[str, list[Task]]]:
    """Groups of tasks, each with its title, in their order: what takes longest and may be cut short comes last."""
    found: list[tuple[str, list[Task]]] = []
    if "right" in options.only:
        found.append(("right", [*right.tasks(setting), *together.tasks(setting), *steps.tasks(setting)]))
    if "fast" in options.only or "limit" in options.only:
        found.append(("fast", fast.tasks(setting, record)))
    if "limit" in options.only:
        found.append(("limit", limit.tasks(setting, record)))
    if options.compile:
        found.append(("compiled", compiled.tasks(setting, record, [one for one in options.only if one != "limit"])))
    return found


def told(title: str, record: Record) -> list[str]:
    """What a group found, for a console."""
    rows = record.rows
    if title == "right":
        return tables.right(rows("right"))
    if title == "fast":
        return [*tables.fast(rows("fast")), *tables.parts(rows("parts")), *tables.loader(rows("loader"))]
    return tables.limit(rows("rates"), rows("limit"))
