"""From pairs to the tensors of a step: clusters, batches, negatives and context (paper, section 4.1)."""
