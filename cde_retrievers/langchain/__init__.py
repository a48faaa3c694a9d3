"""LangChain: contextual embeddings for any vector store, and a retriever over one."""

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    from cde_retrievers.errors import MissingDependencyError

    raise MissingDependencyError(
        "cde_retrievers.langchain needs LangChain: pip install 'cde-retrievers[langchain]'"
    ) from error

from cde_retrievers.langchain.contextualized import ContextualizedEmbeddings
from cde_retrievers.langchain.embeddings import ContextualEmbeddings
from cde_retrievers.langchain.retriever import ContextualRetriever
from cde_retrievers.langchain.vectorstore import ContextualFAISS

__all__ = [
    "ContextualEmbeddings",
    "ContextualFAISS",
    "ContextualRetriever",
    "ContextualizedEmbeddings",
]
