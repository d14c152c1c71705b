"""Whole experiments: the paper's ablations, and what the network costs."""
