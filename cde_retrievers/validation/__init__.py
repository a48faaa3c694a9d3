"""Checks of arguments before any work begins: texts, numbers, paths, vectors, signatures."""
