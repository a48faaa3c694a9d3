"""Batches of pairs, from clusters to the tensors of a step (paper, section 4.1)."""
