"""How one pass over all chunks runs. Knows chunks and values to add up, nothing of mixtures."""
