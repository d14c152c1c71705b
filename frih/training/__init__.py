"""Training: the loop, the folders it works in, and what is watched meanwhile."""
