"""One embedder bound to one context, and whether an index belongs to it: what all framework adapters share."""
