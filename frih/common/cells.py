"""CSV files whose text no spreadsheet takes for formulas."""

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from frih.common.files import write_whole

_FORMULA = r"[=+\-@\t\r]"
"""How a cell begins that a spreadsheet computes."""


def write_csv(path: Path, lines: Sequence[Sequence[object]]) -> None:
    """Writes lines of cells; see :func:`guarded`."""
    file = io.StringIO()
    plain, quoted = (csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    for line in lines:
        cells = [guarded(cell) if isinstance(cell, str) else cell for cell in line]
        returns = any("\r" in str(cell) for cell in cells)  # which a reader would take for the end of a line
        (quoted if returns else plain).writerow(cells)
    write_whole(path, file.getvalue())


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: ``'`` stands before text such as ``=1+1``."""
    return f"'{cell}" if re.match(f"'*{_FORMULA}", cell) and not _is_figure(cell) else cell


def unguarded(cell: str) -> str:
    """The cell that :func:`guarded` was given."""
    return cell[1:] if re.match(f"'+{_FORMULA}", cell) else cell


def _is_figure(cell: str) -> bool:
    with suppress(ValueError):
        float(cell)
        return True
    return cell == "-"
