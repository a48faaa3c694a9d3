"""Pairs: read, made of documents, and looked at before training."""
