"""Which pairs share a batch, which of them are false negatives, and hard negatives (paper section 4.1)."""
