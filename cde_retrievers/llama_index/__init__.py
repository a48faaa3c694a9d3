"""LlamaIndex: a contextual embedding for any index, a retriever over one, and guards that keep the two together."""

# ruff: noqa: E402 - a missing package is named before anything needs it
from cde_retrievers.util.imports import require

require("llama_index.core", "cde_retrievers.llama_index", extra="llama-index", package="LlamaIndex")

from cde_retrievers.llama_index.cache import ContextualKVStore
from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.llama_index.finetune import ContextualFinetuneEngine
from cde_retrievers.llama_index.fitter import ContextFitter
from cde_retrievers.llama_index.guards import check_index
from cde_retrievers.llama_index.persistence import load_index, persist_index
from cde_retrievers.llama_index.retriever import ContextualRetriever
from cde_retrievers.llama_index.stamps import context_filters, docstore_namespace, stamped
from cde_retrievers.llama_index.vector_store import ContextualVectorStore
from cde_retrievers.llama_index.whitened_embeddings import WhitenedEmbedding

ContextualizedEmbedding = WhitenedEmbedding
"""The earlier name."""

__all__ = [
    "ContextFitter",
    "ContextualEmbedding",
    "ContextualFinetuneEngine",
    "ContextualKVStore",
    "ContextualRetriever",
    "ContextualVectorStore",
    "ContextualizedEmbedding",
    "WhitenedEmbedding",
    "check_index",
    "context_filters",
    "docstore_namespace",
    "load_index",
    "persist_index",
    "stamped",
]
