"""Reports of evaluations: their files and HTML pages, plots, small images, and comparisons."""

from frih.tools.report.comparison import compare
from frih.tools.report.thumbnails import Thumbnails
from frih.tools.report.write import write_report

__all__ = ["Thumbnails", "compare", "write_report"]
