"""Pairs to train on: read from files and data sets, made from documents, described before training."""
