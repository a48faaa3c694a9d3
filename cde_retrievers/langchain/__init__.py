"""LangChain: contextual embeddings, a vector store, a retriever, and guards that keep contexts apart."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from typing import TYPE_CHECKING

from cde_retrievers.util.imports import importer, require

require("langchain_core", "cde_retrievers.langchain", extra="langchain", package="LangChain")

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck
from cde_retrievers.langchain.caches import (
    cache_key_encoder,
    cached_embeddings,
    index_key_encoder,
    record_manager_namespace,
)
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.guards import check_index, read_context, write_context
from cde_retrievers.langchain.hybrid_retriever import ContextualHybridRetriever
from cde_retrievers.langchain.refit import refit_store
from cde_retrievers.langchain.relevance import with_cosine_relevance
from cde_retrievers.langchain.retriever import ContextualRetriever
from cde_retrievers.langchain.stamps import collection_metadata, context_filter, stamped
from cde_retrievers.langchain.vector_store import ContextualVectorStore
from cde_retrievers.langchain.verified_hits import verified
from cde_retrievers.langchain.whitened_embeddings import WhitenedEmbeddings

if TYPE_CHECKING:
    from cde_retrievers.langchain.milvus_sparse_embeddings import ContextualMilvusSparseEmbeddings
    from cde_retrievers.langchain.sparse_embeddings import ContextualSparseEmbeddings

ContextualFAISS = ContextualVectorStore
"""The earlier name."""
ContextualizedEmbeddings = WhitenedEmbeddings
"""The earlier name."""

__all__ = [
    "CONTEXT_KEY",
    "ContextCheck",
    "ContextualEmbeddings",
    "ContextualFAISS",
    "ContextualHybridRetriever",
    "ContextualMilvusSparseEmbeddings",
    "ContextualRetriever",
    "ContextualSparseEmbeddings",
    "ContextualVectorStore",
    "ContextualizedEmbeddings",
    "WhitenedEmbeddings",
    "cache_key_encoder",
    "cached_embeddings",
    "check_index",
    "collection_metadata",
    "context_filter",
    "index_key_encoder",
    "read_context",
    "record_manager_namespace",
    "refit_store",
    "stamped",
    "verified",
    "with_cosine_relevance",
    "write_context",
]

# Their base classes are langchain-milvus' and langchain-qdrant's, which only the users of these have.
__getattr__ = importer(
    __name__,
    {
        "ContextualMilvusSparseEmbeddings": "cde_retrievers.langchain.milvus_sparse_embeddings",
        "ContextualSparseEmbeddings": "cde_retrievers.langchain.sparse_embeddings",
    },
)
