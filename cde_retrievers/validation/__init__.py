"""What callers hand over, checked before any work begins: texts, numbers, paths, vectors, arguments."""
