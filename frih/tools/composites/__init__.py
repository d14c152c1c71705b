"""Composites made of photos: whole data sets, the sample, and new ones while training."""
