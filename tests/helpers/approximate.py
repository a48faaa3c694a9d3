"""Approximate search of indexes that are too small for it."""

from cde_retrievers.index.accelerator import Accelerator


def approximate_from(rows, monkeypatch):
    """Let indexes of so many rows have an accelerator, and searches use it whatever that costs."""
    monkeypatch.setattr("cde_retrievers.index.compaction.MIN_ROWS", rows)
    monkeypatch.setattr(Accelerator, "_cost", lambda self, effort, wanted: 0)
