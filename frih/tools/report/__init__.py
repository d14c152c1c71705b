"""Pages to look at: the HTML report of an evaluation, its plots and small images, and evaluations compared."""

from frih.tools.report.comparison import compare
from frih.tools.report.html import evaluation_page
from frih.tools.report.thumbnails import Thumbnails

__all__ = ["Thumbnails", "compare", "evaluation_page"]
