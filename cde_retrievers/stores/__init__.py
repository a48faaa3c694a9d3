"""Collections of vector databases by their own clients, and their refit: shared by all framework adapters."""
