"""Divides a foreground into submasks by colour: the paper's *Submask Extraction*, exact and fast. Needs no torch.

:mod:`~frih.submasks.extract` takes images; :mod:`~frih.submasks.density_peaks` and :mod:`~frih.submasks.kmeans` take colours.
"""

from frih.submasks.density_peaks import DensityPeaks, density_peaks
from frih.submasks.extract import extract_batch, extract_submasks
from frih.submasks.kmeans import KMeans, kmeans

__all__ = ["DensityPeaks", "KMeans", "density_peaks", "extract_batch", "extract_submasks", "kmeans"]
