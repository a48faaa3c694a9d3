"""LlamaIndex: a contextual embedding for any index, and a retriever over one."""

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    from cde_retrievers.errors import MissingDependencyError

    raise MissingDependencyError(
        "cde_retrievers.llama_index needs LlamaIndex: pip install 'cde-retrievers[llama-index]'"
    ) from error

from cde_retrievers.llama_index.embeddings import ContextualEmbedding
from cde_retrievers.llama_index.retriever import ContextualRetriever
from cde_retrievers.llama_index.vector_store import ContextualVectorStore

__all__ = ["ContextualEmbedding", "ContextualRetriever", "ContextualVectorStore"]
