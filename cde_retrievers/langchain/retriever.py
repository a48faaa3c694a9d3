"""A LangChain retriever over any vector store of one context."""

from collections.abc import Iterable
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from pydantic import Field

from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.langchain.bound_retriever import ContextBoundRetriever
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings, ContextualEmbeddings
from cde_retrievers.langchain.guards import add_documents, build_store
from cde_retrievers.langchain.search_types import SearchType
from cde_retrievers.langchain.vector_documents import checked_documents
from cde_retrievers.langchain.vector_store import ContextualVectorStore
from cde_retrievers.validation.numbers import is_number
from cde_retrievers.validation.signatures import validated


class ContextualRetriever(ContextBoundRetriever):
    """A retriever of the best documents for a query, both embedded under the context of the corpus.

    Example:
        ```python
        retriever = ContextualRetriever.from_documents(documents, k=10)
        retriever.invoke("a question", filter={"year": {"$gte": 2020}}, k=3)
        ```

    `invoke` also takes `k`, `search_type`, and further arguments of the store's search, for that call.

    Every hit that is stamped with another context is refused with a ContextMismatchError. If hits carry no stamp, and
    the store does not state its context either, that is logged once.
    """

    search_type: SearchType | None = None
    """How the store is searched: by "hybrid", "similarity", "lexical", "mmr" or "similarity_score_threshold". "hybrid"
    and "lexical" need a `ContextualVectorStore`. None is what the store's `similarity_search` does by itself."""
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of that search, such as `filter`, `fetch_k` or `score_threshold`."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse what the store cannot do, and a store of another context.

        Raises:
            ConfigurationError: the store cannot be searched so, or `search_kwargs` do not suit the search.
            ContextNotFittedError, ContextMismatchError: as `ContextBoundRetriever`.
        """
        _check_search(type(self.vectorstore), self.search_type, self.search_kwargs)
        super().model_post_init(context)

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
        search_type: SearchType | None = None,
        search_kwargs: dict[str, Any] | None = None,
        **vectorstore_options: Any,
    ) -> Self:
        """Fit a context on the documents, index them under it, and retrieve from that index.

        The context is recorded in the collection or table of a supported database, and in the metadata of every
        document in any other store, so that the index can be checked when it is loaded again. Relevance scores of
        these, of FAISS and of an InMemoryVectorStore are (1 + cosine) / 2, as `with_cosine_relevance` makes them.

        Args:
            documents: the documents to search, on which the context is also fitted.
            model: the contextual model, unless `embeddings` are given.
            k: number of documents per query.
            embeddings: embeddings to use instead; fitted on the documents if they have no context yet.
            vectorstore_class: any LangChain vector store; the default one stores the context with the documents.
            search_type: as the field.
            search_kwargs: as the field.
            vectorstore_options: passed to the store's `from_documents`; with the default store, `path=` keeps the
                index for `ContextualVectorStore.open(path)`.

        Raises:
            ConfigurationError: a store of this class cannot be searched so; nothing was fitted or indexed.
            ContextMismatchError: the options name an existing collection that was built under another context, or
                holds documents and does not state their context. Nothing is added to it.
        """
        options = {} if search_kwargs is None else search_kwargs
        _check_search(vectorstore_class, search_type, options)
        known = checked_documents(documents)
        embeddings = embeddings if embeddings is not None else ContextualEmbeddings(model_name=model)
        if embeddings.context_fingerprint is None:
            embeddings.fit(known)
        store = build_store(known, embeddings, vectorstore_class, vectorstore_options)
        return cls(embeddings=embeddings, vectorstore=store, k=k, search_type=search_type, search_kwargs=options)

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
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        search_type: SearchType | None = None,
        **options: Any,
    ) -> list[Document]:
        given, wanted = self._search_options(k, options), search_type or self.search_type
        if wanted is None:
            return self._checked(self.vectorstore.similarity_search(query, **given))
        return self._checked(self.vectorstore.search(query, wanted, **given))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        search_type: SearchType | None = None,
        **options: Any,
    ) -> list[Document]:
        given, wanted = self._search_options(k, options), search_type or self.search_type
        if wanted is None:
            return await self._achecked(await self.vectorstore.asimilarity_search(query, **given))
        return await self._achecked(await self.vectorstore.asearch(query, wanted, **given))

    def _search_options(self, k: int | None, options: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a search, unless the embeddings were refitted."""
        self.embeddings.check_context(self._stamp)
        return {**self.search_kwargs, **options, "k": self.k if k is None else k}


def _check_search(store_class: type[VectorStore], search_type: SearchType | None, options: dict[str, Any]) -> None:
    """Raise ConfigurationError if a store of this class cannot be searched so, or the options do not suit it."""
    if search_type in ("hybrid", "lexical") and not issubclass(store_class, ContextualVectorStore):
        raise ConfigurationError(
            f"search_type {search_type!r} searches by words, which {store_class.__name__} does not keep; use a "
            f"ContextualVectorStore, a ContextualHybridRetriever over this store, or a QdrantVectorStore with "
            f"ContextualSparseEmbeddings and retrieval_mode=HYBRID, which leaves search_type=None"
        )
    fields = sorted(options.keys() & {"query", "k", "search_type"})
    if fields:
        raise ConfigurationError(
            f"search_kwargs must leave out {fields[0]!r}; give it to the retriever itself or to invoke()"
        )
    threshold = options.get("score_threshold")
    if search_type == "similarity_score_threshold" and not (is_number(threshold) and 0 <= threshold <= 1):
        raise ConfigurationError(
            f'search_type "similarity_score_threshold" needs a number from 0 to 1, found {shown(threshold)}; give '
            f'search_kwargs={{"score_threshold": 0.7}}, for example'
        )
