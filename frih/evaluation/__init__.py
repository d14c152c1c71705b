"""From images to rows of figures: of a network, of anyone's predictions, of the composites themselves.

:mod:`~frih.evaluation.evaluation` evaluates; :mod:`~frih.evaluation.predictions` finds the files of other people's networks;
:mod:`~frih.evaluation.unfinished` keeps finished rows until all are there. From rows to tables: :mod:`~frih.evaluation.rows`,
:mod:`~frih.evaluation.statistics`, :mod:`~frih.evaluation.tables`, :mod:`~frih.evaluation.write`.
"""

from frih.evaluation.evaluation import Case, Evaluation, Rows, Show, draw_stages, evenly, harmonize

__all__ = ["Case", "Evaluation", "Rows", "Show", "draw_stages", "evenly", "harmonize"]
