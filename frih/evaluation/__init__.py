"""From images to rows of figures, and from rows to tables.

:mod:`~frih.evaluation.evaluation` makes rows, :mod:`~frih.evaluation.predictions` finds the files of other programs,
:mod:`~frih.evaluation.unfinished` keeps finished rows until all are there. :mod:`~frih.evaluation.rows` is their file,
:mod:`~frih.evaluation.statistics` makes intervals and :mod:`~frih.evaluation.tables` tables of them. The reports of whole
evaluations are in :mod:`frih.tools.report`.
"""

from frih.evaluation.evaluation import Evaluation, Rows, Show, draw_stages, evenly, harmonize, row_of

__all__ = ["Evaluation", "Rows", "Show", "draw_stages", "evenly", "harmonize", "row_of"]
