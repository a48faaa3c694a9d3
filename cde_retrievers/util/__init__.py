"""Small tools that know nothing of embeddings: late imports and progress bars."""
