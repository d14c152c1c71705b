"""Workshops around the spine: nothing in the rest of frih imports them."""
