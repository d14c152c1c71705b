"""What was found, as tables for a console."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frih.evaluation.layout import Table
from frih.tools.machine.device import GIB
from frih.tools.machine.record import Row

SIGNS = {
    "right": "right",
    "wrong": "WRONG",
    "skipped": "skipped",
    "failed": "FAILED",
    "told": "see below",
    "measured": "",
}


def heading(machine: Mapping[str, Any]) -> str:
    """The machine in two lines."""
    gpus = machine["gpus"]
    names = ", ".join(f"{one['name']} ({one['memory_gib']} GiB, {one['capability']})" for one in gpus)
    cuda = f", CUDA {machine['cuda']}, driver {machine['driver']}, cuDNN {machine['cudnn']}, NCCL {machine['nccl']}"
    return (
        f"{names or 'no GPU'}; {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB\n"
        f"frih {machine['frih']} ({machine['commit']}), PyTorch {machine['torch']}, Python {machine['python']}"
        f"{cuda if gpus else ''}, {machine['threads']} threads"
    )


def right(rows: Sequence[Row]) -> list[str]:
    """A line a check, its errors beside what is allowed, and then whatever else there is to say."""
    checks = [row for row in rows if row.get("kind") == "arithmetic"]
    others = [row for row in rows if "errors" in row and row not in checks]
    texts = []
    if checks:
        kinds = list(checks[0]["errors"])
        lines = [[row["name"], *_errors(row, kinds), SIGNS[row["status"]]] for row in checks]
        texts.append(Table("error, and the largest allowed", [*kinds, ""], [], lines, ()).text())
    if others:
        lines = [[row["name"], _sentence(row), SIGNS[row["status"]]] for row in others]
        texts.append(Table("processes, and steps", ["error, and the largest allowed", ""], [], lines, ()).text())
    rest = [row for row in rows if "errors" not in row]
    texts += ["\n".join(_told(row) for row in rest)] if rest else []
    return texts


def fast(rows: Sequence[Row]) -> list[str]:
    """Images a second and memory: a line a network, mode and precision, a group a batch."""
    batches = sorted({row["batch"] for row in rows if "batch" in row})
    lines = []
    for key in dict.fromkeys(_kind(row) for row in rows if "batch" in row):
        cells = []
        for batch in batches:
            found = [row for row in rows if "batch" in row and _kind(row) == key and row["batch"] == batch]
            cells += _speed(found[0]) if found else ["", ""]
        lines.append([key, *cells])
    texts = []
    if lines:
        groups = [f"batch {batch}" for batch in batches]
        measured = [row for row in rows if row["status"] == "measured"]
        notes = [f"{row['name']}: {row['why']}" for row in _first_of_each(rows)]
        images = _images(measured)
        title = f"Images a second, and the most memory (GiB){images}"
        texts.append(Table("", groups, [], lines, ("images/s", "GiB"), title, notes=tuple(notes)).text())
    texts += ["\n".join(_told(row) for row in rows if "batch" not in row)]
    return [text for text in texts if text]


def parts(rows: Sequence[Row]) -> list[str]:
    """Where the time of a step goes."""
    measured = [row for row in rows if row["status"] == "measured"]
    texts = []
    if measured:
        names = list(measured[0]["seconds"])
        lines = [
            [
                row["name"],
                *(
                    f"{1e3 * row['seconds'][name]:.1f} ms, {row['seconds'][name] / sum(row['seconds'].values()):.0%}"
                    for name in names
                ),
                f"{1e3 * row['clustering_seconds']:.1f} ms",
            ]
            for row in measured
        ]
        texts.append(Table("parts of a step", [*names, "clustering, by the loader"], [], lines, ()).text())
    return [*texts, *_rest(rows)]


def loader(rows: Sequence[Row]) -> list[str]:
    """What loader processes give."""
    measured = [row for row in rows if row["status"] == "measured"]
    lines = [
        [
            f"{row['name']}, {row['workers']} processes, batch {row['batch']}",
            f"{row['images_per_second']:.1f}",
            f"{row['waiting']:.0%}",
        ]
        for row in measured
    ]
    texts = [Table("loader", ["images/s", "waited for"], [], lines, ()).text()] if lines else []
    return [*texts, *_rest(rows)]


def limit(rates: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """The device's rates, and how near a step comes to them."""
    texts = [", ".join(_rate(row) for row in rates if row["status"] == "measured")]
    lines = [
        [
            f"{row['name']}",
            f"{row['bytes'] / 1e9:.2f} GB",
            f"{row['multiply_adds'] / 1e9:.1f} G",
            *(
                f"{1e3 * row[key]:.1f}"
                for key in ("seconds_by_bandwidth", "seconds_by_matrix_rate", "seconds_allowed", "seconds")
            ),
            f"{row['ratio']:.1f}",
        ]
        for row in rows
        if row["status"] == "measured"
    ]
    groups = ["bytes", "multiply-adds", "ms by bandwidth", "by products", "allowed", "measured", "ratio"]
    if lines:
        texts.append(Table("near the limit", groups, [], lines, ()).text())
    return [text for text in [*texts, *_rest([*rates, *rows])] if text]


def _sentence(row: Row) -> str:
    return ", ".join(f"{kind} {cell}" for kind, cell in zip(row["errors"], _errors(row), strict=True))


def _errors(row: Row, kinds: Sequence[str] | None = None) -> list[str]:
    return [f"{row['errors'][kind]:.1e} of {row['allowed'][kind]:.1e}" for kind in kinds or row["errors"]]


def _told(row: Row) -> str:
    sign = {"told": "not to the bit", "measured": ""}.get(row["status"], SIGNS[row["status"]])
    words = [f"{row['name']}: {sign}"]
    if "why" in row:
        words.append(row["why"])
    if "differences" in row:
        words.append(", ".join(f"{name} run differs by {value:.1e}" for name, value in row["differences"].items()))
    if "wrong" in row:
        words.append(f"{row['wrong']} of {row['batches']} batches differ")
    words += [f"{name}: {what}" for name, what in row.get("unordered", {}).items()]
    words += [f"no deterministic algorithm: {name}" for name in row.get("without_deterministic_algorithm", [])]
    return "; ".join(words)


def _kind(row: Row) -> str:
    return f"{row['network']}, {row['mode']}, {row['precision']}{', compiled' * row['compiled']}"


def _speed(row: Row) -> list[str]:
    if row["status"] != "measured":
        return ["-", ""]
    peak = row["peak_bytes"]
    return [f"{row['images_per_second']:.1f}", "" if peak is None else f"{peak / GIB:.2f}"]


def _images(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    row = max(rows, key=lambda one: one["batch"])
    return f"; images of K {row['submasks']:.1f} and {row['foreground']:.0%} foreground in the mean, at batch {row['batch']}"


def _first_of_each(rows: Sequence[Row]) -> Iterator[Row]:
    """What was not measured, without what follows from another."""
    for row in rows:
        if row["status"] != "measured" and "batch" in row and "skipped already" not in row["why"]:
            yield row


def _rate(row: Row) -> str:
    if "bytes_per_second" in row:
        return f"bandwidth {row['bytes_per_second'] / 1e9:.1f} GB/s"
    return f"{row['precision']} {row['multiply_adds_per_second'] / 1e9:.0f} G multiply-adds/s"


def _rest(rows: Sequence[Row]) -> list[str]:
    text = "\n".join(_told(row) for row in rows if row["status"] != "measured")
    return [text] if text else []
