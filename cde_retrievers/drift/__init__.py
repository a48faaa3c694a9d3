"""Drift: how far new documents lie from those a context was fitted on, and what that means for retrieval."""

from cde_retrievers.drift.measurement import measure
from cde_retrievers.drift.report import DriftReport
from cde_retrievers.drift.samples import IndexedCorpus

__all__ = ["DriftReport", "IndexedCorpus", "measure"]
