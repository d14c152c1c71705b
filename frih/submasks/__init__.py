"""The foreground into submasks by colour: the paper's *Submask Extraction*, exact and fast. Needs no torch.

:mod:`~frih.submasks.extract` takes pictures; :mod:`~frih.submasks.density_peaks` clusters colours, on top of
:mod:`~frih.submasks.compiled` and :mod:`~frih.submasks.columns` (numba), or where there is none
:mod:`~frih.submasks.plain` (NumPy).
"""

from frih.submasks.density_peaks import DensityPeaks, density_peaks
from frih.submasks.extract import extract_batch, extract_submasks

__all__ = ["DensityPeaks", "density_peaks", "extract_batch", "extract_submasks"]
