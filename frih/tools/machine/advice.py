"""What follows from what was measured: the options to train the paper's recipe with, and how long it would take."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from frih.config import Config
from frih.data.iharmony4 import COMPOSITES
from frih.tools.machine.record import Row

WORTH = 1.1
"""So many times faster is worth another precision, or compiling; less is noise."""
AT_REST = 0.95
"""A batch of at least this share of the best rate is large enough."""
SPARE = 1.25
"""So much more than the device takes should the loader give."""


def follows(data: Mapping[str, Any], config: Config, *, gpus: int, cores: int) -> Row:
    """Options, images a second and hours; with ``lines`` for people.

    Args:
        data: the record: ``right``, ``fast`` and ``loader``, as far as they are known.
        config: the recipe, as it was given: its batch, epochs, size.
        gpus: of the machine; each has a process. 0: a CPU, with one.
        cores: of the machine.
    """
    network = "FRIH" if config.model.cascade else "base network"
    rows = [
        row
        for row in data.get("fast", [])
        if row["status"] == "measured" and (row["network"], row["mode"]) == (network, "training")
    ]
    eager = [row for row in rows if not row["compiled"]]
    if not eager:
        return {"options": [], "lines": ["Nothing follows: no training was timed."]}
    processes = max(1, gpus)
    precision, why = best_precision(eager, data.get("right", []))
    own = {row["batch"]: row for row in eager if row["precision"] == precision}
    share = max(1, config.train.batch // processes)
    accumulate = parts_of(share, max(own))
    at = own[max((count for count in own if count <= share // accumulate), default=min(own))]
    best = max(row["images_per_second"] for row in own.values())
    enough = min(count for count, row in own.items() if row["images_per_second"] >= AT_REST * best)
    compiled = [row for row in rows if row["compiled"] and row["precision"] == precision]
    compiles = any(row["images_per_second"] >= WORTH * own[row["batch"]]["images_per_second"] for row in compiled)
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
    size = config.data.size
    unmeasured = "" if at["batch"] == share // accumulate else f" (its rate is that of batch {at['batch']})"
    lines = [
        f"options: {' '.join(options)}",
        f"precision: {why}",
        f"batch: {config.train.batch} over {processes} process{'es' * (processes > 1)} is {share} each, taken in {accumulate} "
        f"part{'s' * (accumulate > 1)}{unmeasured}; up to {max(own)} of those tried fit, and from {enough} on it is no faster",
        f"compile: {_compile_line(compiled, own, compiles)}",
        f"workers: {told}",
        f"the recipe on iHarmony4: {config.train.epochs} epochs of {images:.0f} images at {size} x {size}, "
        f"{_rate(total)} images a second: {duration(hours)}, without validation"
        + (f"; {processes} GPUs are taken to be {processes} times as fast as one" if processes > 1 else ""),
    ]
    return {
        "options": options,
        "precision": precision,
        "batch_a_process": share // accumulate,
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
    """The fastest of those that compute rightly, if it is worth it, and why."""
    wrong = {row["precision"] for row in checks if row["status"] in ("wrong", "failed") and "precision" in row}
    rates: dict[str, float] = {}
    for row in rows:
        rates[row["precision"]] = max(rates.get(row["precision"], 0.0), row["images_per_second"])
    order = [one for one in ("fp32", "tf32", "bf16", "fp16") if one in rates]
    trusted = [one for one in order if one not in wrong] or order
    chosen = trusted[0]
    for other in trusted[1:]:
        if rates[other] >= WORTH * rates[chosen]:
            chosen = other
    told = ", ".join(f"{one} {rates[one]:.1f}{' (wrong, see above)' * (one in wrong)}" for one in order)
    return chosen, f"{chosen}; best rates, images a second: {told}"


def parts_of(share: int, most: int) -> int:
    """The fewest equal parts of a process's share of a batch that are no larger than the most."""
    return next(
        parts for parts in range(1, share + 1) if share % parts == 0 and (share // parts <= most or parts == share)
    )


def loading(rows: Sequence[Row], wanted: float, processes: int, cores: int) -> tuple[int | None, float, str]:
    """Workers a process, the images a second that they give at most, and what to say of it."""
    found = {row["name"]: row for row in rows if row["status"] == "measured"}
    row = found.get("loader beside the busy device") or found.get("loader alone")
    if row is None:
        return None, math.inf, "the loader was not timed, and is taken to keep up"
    each = row["images_per_second"] / row["workers"]
    most = max(1, cores // processes)
    workers = min(most, max(1, math.ceil(SPARE * wanted / processes / each)))
    given = each * workers * processes
    told = f"{workers} a process give at most {_rate(given)} images a second, {_rate(wanted)} are taken"
    if row.get("made"):
        told += " (of JPEGs of 512 pixels; give data.root=... to time your own)"
    if given < wanted:
        told += "; the device waits: scripts/prepare.py makes files that are read faster"
    return workers, given, told


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def duration(hours: float) -> str:
    """As "5.2 hours", "3.1 days"."""
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _compile_line(compiled: Sequence[Row], eager: Mapping[int, Row], worth: bool) -> str:
    if not compiled:
        return "not tried"
    row = compiled[0]
    ratio = row["images_per_second"] / eager[row["batch"]]["images_per_second"]
    verdict = "worth it" if worth else "not worth it"
    seconds = row["compiling_seconds"]
    return f"{verdict}: {ratio:.2f} times as fast at batch {row['batch']}, {seconds:.0f} s to compile"
