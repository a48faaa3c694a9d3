"""The contrastive loss, and the gradients of both stages in the memory of a few texts."""
