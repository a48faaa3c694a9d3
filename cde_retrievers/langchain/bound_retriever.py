"""What LangChain's retrievers over a vector store of one context have in common."""

import asyncio
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, PrivateAttr

from cde_retrievers.binding.hits import HitCheck
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.verified_hits import hit_check_of


class ContextBoundRetriever(BaseRetriever):
    """A retriever that refuses a store and hits of another context, and names model and context in every trace."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    embeddings: ContextBoundEmbeddings
    """The embeddings that the store was made with."""
    vectorstore: VectorStore
    """Any vector store."""
    k: int = Field(default=4, ge=1)
    """Number of documents per query."""

    _stamp: str = PrivateAttr()
    _hits: HitCheck | None = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Compare the contexts of store and embeddings.

        Raises:
            ContextNotFittedError, ContextMismatchError, ConfigurationError: as `hit_check_of`.
        """
        self._hits = hit_check_of(self.vectorstore, self.embeddings)
        self._stamp = self.embeddings.stamp
        identity = {"embedding_model": self.embeddings.model_name, "context_fingerprint": self._stamp}
        self.metadata = {**identity, **(self.metadata or {})}

    def _checked(self, documents: list[Document]) -> list[Document]:
        """Return the hits, or raise ContextMismatchError if one is stamped with another context."""
        if self._hits is not None:
            self._hits.check(document.metadata for document in documents)
        return documents

    async def _achecked(self, documents: list[Document]) -> list[Document]:
        """Call `_checked` without blocking the event loop, since it may ask the store."""
        return documents if self._hits is None else await asyncio.to_thread(self._checked, documents)

    def _get_ls_params(self, **options: Any) -> LangSmithRetrieverParams:
        return {
            **super()._get_ls_params(**options),
            "ls_embedding_provider": "cde_retrievers",
            "ls_embedding_model": str(self.embeddings.model_name),
            "ls_vector_store_provider": type(self.vectorstore).__name__,
        }
