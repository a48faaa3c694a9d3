"""Training: pairs, contextual batches, and both stages of a model under one contrastive loss."""
