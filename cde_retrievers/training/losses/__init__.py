"""The contrastive loss, and gradient caching through both stages."""
