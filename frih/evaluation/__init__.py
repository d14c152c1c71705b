"""From pictures to rows of figures: of a network, of anyone's predictions, of the composites themselves.

:mod:`~frih.evaluation.evaluation` evaluates; :mod:`~frih.evaluation.predictions` finds the files of other people's networks;
:mod:`~frih.evaluation.unfinished` keeps finished rows until all are there.
"""

from frih.evaluation.evaluation import Case, Evaluation, Rows, draw_stages, evenly, harmonize

__all__ = ["Case", "Evaluation", "Rows", "draw_stages", "evenly", "harmonize"]
