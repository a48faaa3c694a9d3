"""An index on disk that carries its context."""

from cde_retrievers.index.contextual_index import ContextualIndex
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.inspection import context_of_index
from cde_retrievers.retrieval.document import Document, Hit

__all__ = ["ContextualIndex", "Document", "Filter", "Hit", "context_of_index"]
