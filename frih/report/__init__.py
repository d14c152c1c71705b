"""What an evaluation found: tables, intervals, and pages to look at, all from rows of one picture each."""

from frih.report.comparison import compare
from frih.report.layout import METRICS, Table
from frih.report.rows import read_rows, write_rows
from frih.report.tables import METHODS, RATIOS, summarize, tables
from frih.report.thumbnails import Thumbnails
from frih.report.write import write_report

__all__ = [
    "METHODS",
    "METRICS",
    "RATIOS",
    "Table",
    "Thumbnails",
    "compare",
    "read_rows",
    "summarize",
    "tables",
    "write_report",
    "write_rows",
]
