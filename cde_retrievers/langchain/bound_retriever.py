"""What LangChain's retrievers over a vector store of one context have in common."""

import asyncio
from functools import partial
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, PrivateAttr

from cde_retrievers.binding.hits import HitCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.guards import read_context, refuse_another_context
from cde_retrievers.langchain.vector_store import ContextualVectorStore


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
            ContextNotFittedError: the embeddings have no context.
            ContextMismatchError: the vector store embeds under another context, or states that it was built under
                another one. Many stores state none; `check_index` shows it.
            ConfigurationError: the store of embeddings with `side="query"` embeds queries without a context.
        """
        fingerprint = self.embeddings.context.fingerprint
        # A cache wraps the embeddings.
        theirs = getattr(self.vectorstore.embeddings, "underlying_embeddings", self.vectorstore.embeddings)
        if isinstance(theirs, ContextBoundEmbeddings) and theirs != self.embeddings:
            raise ContextMismatchError(
                f"the vector store embeds under context {theirs.context_fingerprint}, but queries would be embedded "
                f"under {fingerprint}; pass the embeddings that the store was made with"
            )
        if self.embeddings.documents_are_plain and theirs is not None and not isinstance(theirs, ContextBoundMixin):
            raise ConfigurationError(
                f"this store embeds queries by its own {type(theirs).__name__}, without the context; open it with the "
                f"embeddings of this retriever, which search its plain vectors under their context"
            )
        is_known = refuse_another_context(self.vectorstore, self.embeddings)
        self._stamp = self.embeddings.stamp
        # A ContextualVectorStore vouches for its documents, whose metadata may name an earlier context.
        is_own = isinstance(self.vectorstore, ContextualVectorStore)
        name, ask = type(self.vectorstore).__name__, partial(read_context, self.vectorstore)
        self._hits = None if is_own else HitCheck(name, self._stamp, is_known, ask)
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
