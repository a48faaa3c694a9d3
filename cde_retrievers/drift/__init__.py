"""Drift: the distance of new documents from a context's corpus, and what it means for retrieval."""

from cde_retrievers.drift.measurement import measure
from cde_retrievers.drift.report import DriftReport
from cde_retrievers.drift.samples import IndexedCorpus

__all__ = ["DriftReport", "IndexedCorpus", "measure"]
