"""Your own images: read in many forms, harmonized at the network's size, and carried back to their own size."""
