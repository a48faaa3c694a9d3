"""Binding of an embedder to one context, and checks of indexes: shared by all framework adapters."""
