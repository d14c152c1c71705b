"""One's own images: read in any kind, harmonized at the network's size, carried to their own."""
