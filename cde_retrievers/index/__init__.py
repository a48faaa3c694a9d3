"""An index on disk that carries its context."""

from cde_retrievers.index.check import context_of_index
from cde_retrievers.index.contextual_index import ContextualIndex
from cde_retrievers.index.document import Document, Hit
from cde_retrievers.index.filters import Filter

__all__ = ["ContextualIndex", "Document", "Filter", "Hit", "context_of_index"]
