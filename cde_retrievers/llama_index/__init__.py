"""LlamaIndex: contextual embeddings, a vector store, a retriever, and guards that keep contexts apart."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from cde_retrievers.util.imports import require

require("llama_index.core", "cde_retrievers.llama_index", extra="llama-index", package="LlamaIndex")

from cde_retrievers.binding.check import CONTEXT_KEY, ContextCheck
from cde_retrievers.llama_index.caches import docstore_namespace
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.llama_index.finetune import ContextualFinetuneEngine
from cde_retrievers.llama_index.fitter import ContextFitter
from cde_retrievers.llama_index.guards import check_index
from cde_retrievers.llama_index.persistence import load_index, persist_index
from cde_retrievers.llama_index.refit import refit_store
from cde_retrievers.llama_index.retriever import ContextualRetriever
from cde_retrievers.llama_index.sparse_embedding import ContextualSparseEmbedding
from cde_retrievers.llama_index.stamps import context_filter, stamped
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.llama_index.whitened_embeddings import WhitenedEmbedding

ContextualizedEmbedding = WhitenedEmbedding
"""The earlier name."""

__all__ = [
    "CONTEXT_KEY",
    "ContextCheck",
    "ContextFitter",
    "ContextualEmbedding",
    "ContextualFinetuneEngine",
    "ContextualRetriever",
    "ContextualSparseEmbedding",
    "ContextualVectorStore",
    "ContextualizedEmbedding",
    "WhitenedEmbedding",
    "check_index",
    "context_filter",
    "docstore_namespace",
    "load_index",
    "persist_index",
    "refit_store",
    "stamped",
]
