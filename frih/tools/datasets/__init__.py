"""Data sets checked, and prepared for training."""
