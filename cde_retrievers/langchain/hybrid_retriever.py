"""A LangChain retriever by vectors and words over any vector store."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import Field, PrivateAttr
from scipy.sparse import csr_matrix

from cde_retrievers.errors import ConfigurationError, IndexLockedError, WriteError
from cde_retrievers.external.vector_cache import DEFAULT_MIB
from cde_retrievers.langchain.bound_retriever import ContextBoundRetriever
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings, ContextualEmbeddings
from cde_retrievers.langchain.guards import add_documents, build_store
from cde_retrievers.langchain.hybrid_search import HybridSearch, by_id
from cde_retrievers.langchain.vector_documents import checked_documents
from cde_retrievers.retrieval.document import checked_ids
from cde_retrievers.sparse.bm25 import document_rows
from cde_retrievers.stores.sparse_store import SparseStore
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_text, read_texts


class ContextualHybridRetriever(ContextBoundRetriever):
    """A retriever by vectors and words over a vector store that keeps vectors alone.

    It keeps the words beside the store, as sparse rows in a directory of their own. Candidates for a query are the
    `fetch_k` nearest documents of the store and the `fetch_k` best by words. Each has the score that it would have in a
    `ContextualVectorStore` of the same documents.

    Example:
        ```python
        retriever = ContextualHybridRetriever.from_documents(
            documents, path="chroma_words", vectorstore_class=Chroma, persist_directory="chroma"
        )
        retriever.invoke("what does get_item raise?")

        retriever = ContextualHybridRetriever(embeddings=embeddings, vectorstore=store, path="chroma_words")  # later
        ```

    It costs more than a `ContextualVectorStore`. Stores do not give out their vectors, so that a query embeds the texts
    of up to 2 `fetch_k` candidates, except those whose vectors are still in memory. All sparse rows are in memory, and
    every change writes them all, so that documents are best added many at a time.

    Add and delete documents by this retriever. One that was added to the store alone is found by its vector alone; one
    that was deleted from the store alone is skipped. Both are logged once.

    Filters are the store's own, and the sparse rows hold no metadata. Where a search has options, such as `filter`, the
    candidates are therefore only the `fetch_k` nearest documents that the store returns under them, and words decide
    their order.
    """

    path: str | Path
    """Directory of the sparse rows; the first documents make it."""
    fetch_k: int = Field(default=50, ge=1)
    """Number of candidates by vectors, and of candidates by words; at least `k` are used."""
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the store's search, such as `filter`. Those of `invoke` come on top for that call."""
    keep_mib: int = Field(default=DEFAULT_MIB, ge=0)
    """Mebibytes of candidates' vectors to keep in memory."""

    _fingerprint: str = PrivateAttr()
    _sparse: SparseStore = PrivateAttr()
    _search: HybridSearch = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the sparse rows, and refuse a store of another context.

        Raises:
            ConfigurationError: the store cannot return documents by their ids, or `search_kwargs` has `k`.
            ContextNotFittedError: the embeddings have no context.
            ContextMismatchError: the store or the sparse rows are of another context, or the context carries no term
                statistics.
            PathInUseError: there is something else at `path`.
            IndexFileError: the sparse rows are damaged.
        """
        super().model_post_init(context)
        _check_gives_documents(type(self.vectorstore))
        if "k" in self.search_kwargs:
            raise ConfigurationError("search_kwargs must leave out 'k'; give it to the retriever itself or to invoke()")
        self.embeddings.context.term_statistics()
        self._fingerprint = self.embeddings.context.fingerprint
        self._sparse = SparseStore(self.path, self._fingerprint)
        self._search = HybridSearch(self.vectorstore, self.embeddings, self._sparse, self.keep_mib)

    @classmethod
    @validated
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        path: str | Path,
        vectorstore_class: type[VectorStore],
        model: str = "minilm",
        embeddings: ContextBoundEmbeddings | None = None,
        k: int = 4,
        fetch_k: int = 50,
        **vectorstore_options: Any,
    ) -> Self:
        """Fit a context on the documents, put them into a store, and their words beside it.

        Args:
            documents: the documents to search, on which the context is also fitted; one without an id gets a UUID.
            path: directory of the sparse rows: a new one, or one of the same context.
            vectorstore_class: any LangChain vector store that returns documents by their ids.
            model: the contextual model, unless `embeddings` are given.
            embeddings: embeddings to use instead; fitted on the documents if they have no context yet.
            k: number of documents per query.
            fetch_k: as the field.
            vectorstore_options: passed to the store's `from_documents`.

        Raises:
            ContextMismatchError: the store or the sparse rows are of another context. Nothing is added.
            PathInUseError: there is something else at `path`. Nothing is added.
            ConfigurationError: the store cannot return documents by their ids, or gives them others.
            IndexLockedError, WriteError: as `add_documents`.
        """
        _check_gives_documents(vectorstore_class)
        known = _with_ids(checked_documents(documents), vectorstore_options.pop("ids", None))
        embeddings = embeddings if embeddings is not None else ContextualEmbeddings(model_name=model)
        if embeddings.context_fingerprint is None:
            embeddings.fit(known)
        SparseStore(path, embeddings.context.fingerprint)
        rows = document_rows(read_texts(known, _text), embeddings.context.term_statistics())
        store = build_store(known, embeddings, vectorstore_class, vectorstore_options)
        made = cls(embeddings=embeddings, vectorstore=store, path=path, k=k, fetch_k=fetch_k)
        made._keep_words([str(document.id) for document in known], rows)
        return made

    def add_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """Add documents to the store, and their words to the sparse rows, under the same context.

        Args:
            documents: the documents to add; the context is not changed.
            options: passed to the store's `add_documents`, such as `ids`.

        Returns:
            The ids that the store gave them.

        Raises:
            ContextMismatchError: the embeddings were refitted since, or the store states that it was built under
                another context. Nothing is added.
            IndexLockedError, WriteError: their words could not be written, while the store has the documents.
        """
        context = self.embeddings.use_context(self._fingerprint)
        known = checked_documents(documents)
        rows = document_rows(read_texts(known, _text), context.term_statistics())
        ids = add_documents(self.vectorstore, known, self.embeddings, options)
        self._keep_words(ids, rows)
        return ids

    def delete(self, ids: Sequence[str]) -> None:
        """Remove documents from the store, and their words from the sparse rows.

        Raises:
            ConfigurationError: `ids` is not a collection of ids.
            IndexLockedError, WriteError: the words could not be removed; the documents are not found any more.
        """
        known = checked_ids(ids)
        self.vectorstore.delete(known)
        self._sparse.delete(known)

    @validated
    def search_with_score(self, query: str, k: int | None = None, **options: Any) -> list[tuple[Document, float]]:
        """Return the best documents for a query with their scores, best first; arguments as those of `invoke`.

        Raises:
            ContextMismatchError: the embeddings were refitted since, or a document is stamped with another context.
            ConfigurationError: `k` is not a positive whole number, or the store returns documents without ids.
            InvalidTextError: the query is not a text.
        """
        count = self.k if k is None else k
        check_whole("k", count, 1)
        context = self.embeddings.use_context(self._fingerprint)
        given = {**self.search_kwargs, **options}
        found = self._search.best(checked_text(query, 0), context, count, max(count, self.fetch_k), given)
        self._checked([document for document, _ in found])
        return found

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        return [document for document, _ in self.search_with_score(query, k, **options)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None, **options: Any
    ) -> list[Document]:
        found = await run_in_executor(None, self.search_with_score, query, k, **options)
        return [document for document, _ in found]

    def _keep_words(self, ids: Sequence[str], rows: csr_matrix) -> None:
        """Write the sparse rows of documents that the store has."""
        first = by_id(self.vectorstore, self.vectorstore.get_by_ids(ids[:1])) if ids else {}
        if len(ids) != rows.shape[0] or list(first) != list(ids[:1]):
            raise ConfigurationError(
                f"{type(self.vectorstore).__name__} does not return its documents with the ids they were added with, "
                f"so that their words cannot be kept; give each document an id of the store's own form, such as a UUID"
            )
        try:
            self._sparse.put(ids, rows)
        except (IndexLockedError, WriteError) as error:
            error.add_note("The store has these documents. Add them again with the same ids, so that words find them.")
            raise


def _check_gives_documents(store_class: type[VectorStore]) -> None:
    if store_class.get_by_ids is VectorStore.get_by_ids:
        raise ConfigurationError(
            f"{store_class.__name__} cannot return documents by their ids, which a search by words needs; update its "
            f"package, or use a ContextualVectorStore"
        )


def _with_ids(documents: Sequence[Document], ids: Sequence[str] | None) -> list[Document]:
    """Return copies of the documents with these ids; if None, with their own, or a UUID."""
    chosen = [document.id or str(uuid4()) for document in documents] if ids is None else checked_ids(ids)
    if len(chosen) != len(documents) or len(set(chosen)) != len(chosen):
        raise ConfigurationError(
            f"each document needs an id of its own, found {len(set(chosen))} ids for {len(documents)} documents"
        )
    return [one.model_copy(update={"id": identity}) for one, identity in zip(documents, chosen, strict=True)]


def _text(document: Document) -> str:
    return document.page_content
