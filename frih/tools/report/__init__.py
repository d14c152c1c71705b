"""Reports of evaluations: their files and HTML pages, plots, images, and comparisons."""

from frih.tools.report.comparison import compare
from frih.tools.report.saving import SavedImages
from frih.tools.report.thumbnails import Thumbnails
from frih.tools.report.write import write_report

__all__ = ["SavedImages", "Thumbnails", "compare", "write_report"]
