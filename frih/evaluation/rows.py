"""Rows, one for each image, as a CSV file, from which every table is made."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from frih.common.cells import unguarded, write_csv
from frih.common.errors import UserError
from frih.metrics import Row

COLUMNS = ["subset", "name", "real", "fg_ratio", "submasks"]
"""The columns before the scores."""


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Writes rows so that :func:`read_rows` returns exactly these; NaN is an empty cell.

    Raises:
        ValueError: the rows have different scores.
    """
    names = list(rows[0].scores) if rows else []
    if any(row.scores.keys() != {*names} for row in rows):
        raise ValueError(f"{path}: rows have different scores")
    lines: list[list[object]] = [[*COLUMNS, *names]]
    for row in rows:
        scores = ("" if math.isnan(row.scores[score]) else repr(float(row.scores[score])) for score in names)
        lines.append([row.subset, row.name, row.real, repr(float(row.fg_ratio)), row.submasks, *scores])
    write_csv(path, lines)


def read_rows(path: Path) -> list[Row]:
    """Reads what :func:`write_rows` wrote.

    Raises:
        UserError: naming the file and the line: it is missing, cut off, another table, or has an image twice or a wrong value.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; evaluate.py writes it") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no text in UTF-8; evaluate again") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: dict[tuple[str, str], Row] = {}
    try:
        names = _score_names(next(reader, []))
        for cells in reader:
            row = _parse(cells, names)
            if (row.subset, row.name) in rows:
                raise ValueError(f"has {row.subset}/{row.name} a second time")
            rows[row.subset, row.name] = row
        if not text.endswith("\n"):
            raise ValueError("is cut off")
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: line {max(reader.line_num, 1)} {error}; evaluate again") from None
    return list(rows.values())


def by_image(rows: Sequence[Row]) -> dict[tuple[str, str], Row]:
    """Rows by subset and the composite's name without suffix, in which copies of a data set may differ.

    If two rows then have the same key, the names keep their suffixes.
    """
    found = {(row.subset, Path(row.name).stem): row for row in rows}
    return found if len(found) == len(rows) else {(row.subset, row.name): row for row in rows}


def _score_names(heading: Sequence[str]) -> list[str]:
    names = list(heading[len(COLUMNS) :])
    if list(heading[: len(COLUMNS)]) != COLUMNS:
        raise ValueError(f"must begin with the columns {','.join(COLUMNS)}")
    if len({*names}) != len(names):
        raise ValueError("names a column twice")
    return names


def _parse(cells: Sequence[str], names: Sequence[str]) -> Row:
    if len(cells) != len(COLUMNS) + len(names):
        raise ValueError(f"has {len(cells)} cells, not {len(COLUMNS) + len(names)}")
    subset, name, real, fg_ratio, submasks, *values = *map(unguarded, cells[:3]), *cells[3:]
    scores = {score: _number(score, cell) if cell else math.nan for score, cell in zip(names, values, strict=True)}
    ratio, count = _number("fg_ratio", fg_ratio), _number("submasks", submasks)
    if not (0 <= ratio <= 1 and count >= 0 and count.is_integer()):
        raise ValueError(f"has fg_ratio {fg_ratio} and submasks {submasks}, which cannot be")
    return Row(subset, name, real, ratio, int(count), scores)


def _number(name: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"has {cell!r} for {name}, which is no number") from None
