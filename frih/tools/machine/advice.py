"""What follows from the measurements: options to train the paper's recipe with, and how long that would take."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from frih.config import Config
from frih.data.iharmony4 import COMPOSITES
from frih.tools.machine.record import Row

WORTH = 1.1
"""Another precision, or compiling, is worth it from so many times the speed on; less is noise."""
AT_REST = 0.95
"""A batch is large enough from this share of the best rate on."""
SPARE = 1.25
"""The loader should give so many times what the device takes."""


def follows(data: Mapping[str, Any], config: Config, *, gpus: int, cores: int) -> Row:
    """Options, images a second and hours, and ``lines`` that explain them.

    Args:
        data: the record: ``right``, ``fast`` and ``loader``, as far as they are known.
        config: the recipe as given: its batch, epochs and size.
        gpus: of the machine, each with a process of its own; 0 means a CPU with one process.
        cores: of the machine.
    """
    network = "FRIH" if config.model.cascade else "base network"
    rows = [row for row in data.get("fast", []) if row["status"] == "measured" and row["network"] == network]
    rows = [row for row in rows if row["mode"] == "training"]
    eager = [row for row in rows if not row["compiled"]]
    if not eager:
        return {"options": [], "lines": ["Nothing follows: no training was timed."]}
    processes = max(1, gpus)
    precision, why = best_precision(eager, data.get("right", []))
    own = {row["batch"]: row for row in eager if row["precision"] == precision}
    share = max(1, config.train.batch // processes)
    accumulate = parts_of(share, max(own))
    batch = share // accumulate
    at = own[max((count for count in own if count <= batch), default=min(own))]
    best = max(row["images_per_second"] for row in own.values())
    enough = min(count for count, row in own.items() if row["images_per_second"] >= AT_REST * best)
    compiled = [row for row in rows if row["compiled"] and row["precision"] == precision]
    compiles = any(_gain(row, own) >= WORTH for row in compiled)
    rate = max([at["images_per_second"], *(row["images_per_second"] for row in compiled if compiles)])
    workers, fed, told = loading(data.get("loader", []), rate * processes, processes, cores)
    total = min(rate * processes, fed)
    images = sum(split["train"] for split in COMPOSITES.values()) * (1 - config.validation.fraction)
    hours = config.train.epochs * images / total / 3600
    options = [f"train.batch={config.train.batch}", f"train.precision={'fp32' if precision == 'tf32' else precision}"]
    options += [f"train.accumulate={accumulate}"] if accumulate > 1 else []
    options += ["train.tf32=false"] if precision == "fp32" and gpus else []
    options += [f"data.workers={workers}"] if workers is not None else []
    options += ["train.compile=true"] if compiles else []
    size, plural = config.data.size, "es" * (processes > 1)
    unmeasured = "" if at["batch"] == batch else f" (its rate is that of batch {at['batch']})"
    lines = [
        f"options: {' '.join(options)}",
        f"precision: {why}",
        f"batch: {config.train.batch} over {processes} process{plural} is {share} each, taken in {accumulate} "
        f"part{'s' * (accumulate > 1)}{unmeasured}; up to {max(own)} of those tried fit, and from {enough} on it is no faster",
        f"compile: {_compile_line(compiled[0], own, compiles) if compiled else 'not tried'}",
        f"workers: {told}",
        f"the recipe on iHarmony4: {config.train.epochs} epochs of {images:.0f} images at {size} x {size}, "
        f"{_rate(total)} images a second: {duration(hours)}, without validation"
        + (f"; {processes} GPUs are taken to be {processes} times as fast as one" if processes > 1 else ""),
    ]
    return {
        "options": options,
        "precision": precision,
        "batch_a_process": batch,
        "accumulate": accumulate,
        "largest_batch": max(own),
        "enough": enough,
        "workers": workers,
        "compile": compiles,
        "images_per_second": total,
        "hours": hours,
        "lines": lines,
    }


def best_precision(rows: Sequence[Row], checks: Sequence[Row]) -> tuple[str, str]:
    """The fastest precision that computes rightly and is worth it, and why."""
    wrong = {row["precision"] for row in checks if row["status"] in ("wrong", "failed") and "precision" in row}
    rates: dict[str, float] = {}
    for row in rows:
        rates[row["precision"]] = max(rates.get(row["precision"], 0.0), row["images_per_second"])
    order = [one for one in ("fp32", "tf32", "bf16", "fp16") if one in rates]
    chosen, *others = [one for one in order if one not in wrong] or order
    for other in others:
        if rates[other] >= WORTH * rates[chosen]:
            chosen = other
    told = ", ".join(f"{one} {rates[one]:.1f}{' (wrong, see above)' * (one in wrong)}" for one in order)
    return chosen, f"{chosen}; best rates, images a second: {told}"


def parts_of(share: int, most: int) -> int:
    """The fewest equal parts of a process's share of a batch, none larger than ``most``."""
    return next(parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= max(1, most))


def loading(rows: Sequence[Row], wanted: float, processes: int, cores: int) -> tuple[int | None, float, str]:
    """Workers a process, the most images a second that they give, and a line about them."""
    measured = {row["name"]: row for row in rows if row["status"] == "measured"}
    row = measured.get("loader beside the busy device") or measured.get("loader alone")
    if row is None:
        return None, math.inf, "the loader was not timed, and is taken to keep up"
    each = row["images_per_second"] / row["workers"]
    workers = min(max(1, cores // processes), max(1, math.ceil(SPARE * wanted / processes / each)))
    given = each * workers * processes
    told = f"{workers} a process give at most {_rate(given)} images a second, {_rate(wanted)} are taken"
    if row.get("made"):
        told += " (of JPEGs of 512 pixels; give data.root=... to time your own)"
    if given < wanted:
        told += "; the device waits: scripts/prepare.py makes files that are read faster"
    return workers, given, told


def duration(hours: float) -> str:
    """Hours, or from 48 on days: "5.2 hours", "3.1 days"."""
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _gain(row: Row, eager: Mapping[int, Row]) -> float:
    """How many times as fast a compiled network is."""
    return float(row["images_per_second"] / eager[row["batch"]]["images_per_second"])


def _compile_line(row: Row, eager: Mapping[int, Row], worth: bool) -> str:
    verdict, seconds = "worth it" if worth else "not worth it", row["compiling_seconds"]
    return f"{verdict}: {_gain(row, eager):.2f} times as fast at batch {row['batch']}, {seconds:.0f} s to compile"
