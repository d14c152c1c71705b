"""The findings as tables for a console."""

from collections.abc import Mapping, Sequence
from typing import Any

from frih.evaluation.layout import Table
from frih.tools.machine.device import GIB
from frih.tools.machine.record import Row

SIGNS = {"right": "right", "wrong": "WRONG", "skipped": "skipped", "failed": "FAILED", "told": "not to the bit"}


def heading(machine: Mapping[str, Any]) -> str:
    """The machine, in two lines."""
    gpus = machine["gpus"]
    names = ", ".join(f"{one['name']} ({one['memory_gib']} GiB, {one['capability']})" for one in gpus)
    cuda = f", CUDA {machine['cuda']}, driver {machine['driver']}, cuDNN {machine['cudnn']}, NCCL {machine['nccl']}"
    return (
        f"{names or 'no GPU'}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB\n"
        f"frih {machine['frih']} ({machine['commit']}), PyTorch {machine['torch']}, Python {machine['python']}"
        f"{cuda if gpus else ''}, {machine['threads']} threads"
    )


def right(rows: Sequence[Row]) -> list[str]:
    """The checks with their errors beside what is allowed, then the checks without."""
    exact = [row for row in rows if row.get("kind") == "arithmetic"]
    lines = [[row["name"], *_errors(row).values(), SIGNS[row["status"]]] for row in exact]
    texts = _table("error, and the largest allowed", [*exact[0]["errors"], ""] if exact else [], lines)
    others = [row for row in rows if "errors" in row and row not in exact]
    errors = [", ".join(" ".join(pair) for pair in _errors(row).items()) for row in others]
    lines = [[row["name"], error, SIGNS[row["status"]]] for row, error in zip(others, errors, strict=True)]
    texts += _table("processes, and steps", ["error, and the largest allowed", ""], lines)
    return texts + _sentences([row for row in rows if "errors" not in row])


def fast(rows: Sequence[Row]) -> list[str]:
    """Images a second and memory: a line for each network, mode and precision, a group for each batch."""
    timed = [row for row in rows if "batch" in row]
    cells = {(_kind(row), row["batch"]): _speed(row) for row in reversed(timed)}
    batches = sorted({batch for _, batch in cells})
    kinds = dict.fromkeys(map(_kind, timed))
    lines = [[kind, *(cell for batch in batches for cell in cells.get((kind, batch), ["", ""]))] for kind in kinds]
    title = "Images a second, and the most memory (GiB)"
    measured = [row for row in rows if row["status"] == "measured"]
    if measured:
        row = max(measured, key=lambda one: one["batch"])
        title += f"; images of K {row['submasks']:.1f} and {row['foreground']:.0%} foreground in the mean"
        title += f", at batch {row['batch']}"
    first = [row for row in timed if "why" in row and "skipped already" not in row["why"]]
    notes = tuple(f"{row['name']}: {row['why']}" for row in first)
    groups = [f"batch {batch}" for batch in batches]
    texts = [Table("", groups, [], lines, ("images/s", "GiB"), title, notes=notes).text()] if lines else []
    return texts + _sentences([row for row in rows if "batch" not in row])


def parts(rows: Sequence[Row]) -> list[str]:
    """Where the time of a step goes."""
    measured = [row for row in rows if row["status"] == "measured"]
    lines = []
    for row in measured:
        total = sum(row["seconds"].values())
        cells = [f"{1e3 * seconds:.1f} ms, {seconds / total:.0%}" for seconds in row["seconds"].values()]
        lines.append([row["name"], *cells, f"{1e3 * row['clustering_seconds']:.1f} ms"])
    names = [*measured[0]["seconds"], "clustering, by the loader"] if measured else []
    return _table("parts of a step", names, lines) + _unmeasured(rows)


def loader(rows: Sequence[Row]) -> list[str]:
    """What loader processes give."""
    lines = [
        [
            f"{row['name']}, {row['workers']} processes, batch {row['batch']}",
            f"{row['images_per_second']:.1f}",
            f"{row['waiting']:.0%}",
        ]
        for row in rows
        if row["status"] == "measured"
    ]
    return _table("loader", ["images/s", "waited for"], lines) + _unmeasured(rows)


def limit(rates: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """The device's rates, and how near a step comes to them."""
    shown = ", ".join(_rate(row) for row in rates if row["status"] == "measured")
    keys = ("seconds_by_bandwidth", "seconds_by_matrix_rate", "seconds_allowed", "seconds")
    lines = [
        [
            row["name"],
            f"{row['bytes'] / 1e9:.2f} GB",
            f"{row['multiply_adds'] / 1e9:.1f} G",
            *(f"{1e3 * row[key]:.1f}" for key in keys),
            f"{row['ratio']:.1f}",
        ]
        for row in rows
        if row["status"] == "measured"
    ]
    groups = ["bytes", "multiply-adds", "ms by bandwidth", "by products", "allowed", "measured", "ratio"]
    return [shown] * bool(shown) + _table("near the limit", groups, lines) + _unmeasured([*rates, *rows])


def _table(corner: str, groups: list[str], lines: list[list[str]]) -> list[str]:
    return [Table(corner, groups, [], lines, ()).text()] if lines else []


def _errors(row: Row) -> dict[str, str]:
    return {kind: f"{error:.1e} of {row['allowed'][kind]:.1e}" for kind, error in row["errors"].items()}


def _kind(row: Row) -> str:
    return f"{row['network']}, {row['mode']}, {row['precision']}{', compiled' * row['compiled']}"


def _speed(row: Row) -> list[str]:
    if row["status"] != "measured":
        return ["-", ""]
    peak = row["peak_bytes"]
    return [f"{row['images_per_second']:.1f}", "" if peak is None else f"{peak / GIB:.2f}"]


def _rate(row: Row) -> str:
    if "bytes_per_second" in row:
        return f"bandwidth {row['bytes_per_second'] / 1e9:.1f} GB/s"
    return f"{row['precision']} {row['multiply_adds_per_second'] / 1e9:.0f} G multiply-adds/s"


def _unmeasured(rows: Sequence[Row]) -> list[str]:
    return _sentences([row for row in rows if row["status"] != "measured"])


def _sentences(rows: Sequence[Row]) -> list[str]:
    """A line for each row that is in no table."""
    text = "\n".join(map(_sentence, rows))
    return [text] if text else []


def _sentence(row: Row) -> str:
    words = [f"{row['name']}: {SIGNS.get(row['status'], '')}"]
    words += [row["why"]] if "why" in row else []
    if "differences" in row:
        words.append(", ".join(f"{name} run differs by {value:.1e}" for name, value in row["differences"].items()))
    if "wrong" in row:
        words.append(f"{row['wrong']} of {row['batches']} batches differ")
    words += [f"{name}: {what}" for name, what in row.get("unordered", {}).items()]
    words += [f"no deterministic algorithm: {name}" for name in row.get("without_deterministic_algorithm", [])]
    return "; ".join(words)
