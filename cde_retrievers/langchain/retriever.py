"""A LangChain retriever over any vector store of one context."""

from collections.abc import Iterable
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field, PrivateAttr

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings, ContextualEmbeddings
from cde_retrievers.langchain.guards import add_documents, build_store, refuse_another_context
from cde_retrievers.langchain.vector_documents import checked_documents
from cde_retrievers.langchain.vector_store import ContextualVectorStore
from cde_retrievers.validation.signatures import validated


class ContextualRetriever(BaseRetriever):
    """A retriever of the documents nearest to a query, both embedded under the context of the corpus."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    embeddings: ContextBoundEmbeddings
    vectorstore: VectorStore
    k: int = Field(default=4, ge=1)

    _stamp: str = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a store of another context, and name model and context in every trace.

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
        refuse_another_context(self.vectorstore, self.embeddings)
        self._stamp = self.embeddings.stamp
        identity = {"embedding_model": self.embeddings.model_name, "context_fingerprint": self._stamp}
        self.metadata = {**identity, **(self.metadata or {})}

    @classmethod
    @validated
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        model: str = "minilm",
        k: int = 4,
        embeddings: ContextBoundEmbeddings | None = None,
        vectorstore_class: type[VectorStore] = ContextualVectorStore,
        **vectorstore_options: Any,
    ) -> Self:
        """Fit a context on the documents, index them under it, and retrieve from that index.

        The context is recorded in the metadata of a Chroma, Qdrant or PGVector collection, and of every document in an
        InMemoryVectorStore, so that the index can be checked when it is loaded again.

        Args:
            documents: the documents to search, on which the context is also fitted.
            model: the contextual model, unless `embeddings` are given.
            k: number of documents per query.
            embeddings: embeddings to use instead; fitted on the documents if they have no context yet.
            vectorstore_class: any LangChain vector store; the default one stores the context with the documents.
            vectorstore_options: passed to the store's `from_documents`; with the default store, `path=` keeps the
                index for `ContextualVectorStore.open(path)`.

        Raises:
            ContextMismatchError: the options name an existing collection that was built under another context, or
                holds documents and does not state their context. Nothing is added to it.
        """
        known = checked_documents(documents)
        embeddings = embeddings if embeddings is not None else ContextualEmbeddings(model_name=model)
        if embeddings.context_fingerprint is None:
            embeddings.fit(known)
        store = build_store(known, embeddings, vectorstore_class, vectorstore_options)
        return cls(embeddings=embeddings, vectorstore=store, k=k)

    def add_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """Add documents to the index, under the context it was built under.

        Args:
            documents: the documents to add; the context is not changed.
            options: passed to the store's `add_documents`, such as `ids`.

        Returns:
            The ids that the store gave them.

        Raises:
            ContextMismatchError: the embeddings were refitted since, or the store states that it was built under
                another context. Nothing is added.
        """
        self.embeddings.check_context(self._stamp)
        return add_documents(self.vectorstore, checked_documents(documents), self.embeddings, options)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        self.embeddings.check_context(self._stamp)
        return self.vectorstore.similarity_search(query, k=self.k if k is None else k)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        self.embeddings.check_context(self._stamp)
        return await self.vectorstore.asimilarity_search(query, k=self.k if k is None else k)

    def _get_ls_params(self, **options: Any) -> LangSmithRetrieverParams:
        return {
            **super()._get_ls_params(**options),
            "ls_embedding_provider": "cde_retrievers",
            "ls_embedding_model": str(self.embeddings.model_name),
            "ls_vector_store_provider": type(self.vectorstore).__name__,
        }
