"""LangChain's vector store over an index that carries its context."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.index import ContextualIndex, Filter, Hit
from cde_retrievers.index.contextual_index import BATCH
from cde_retrievers.index.filters import Missing
from cde_retrievers.index.incoming_documents import DocumentValidator, batches
from cde_retrievers.index.manifest import Kind
from cde_retrievers.langchain.search_types import SEARCHES, RankedSearch, is_ranked, refuse_options
from cde_retrievers.langchain.vector_documents import (
    checked_documents,
    from_index_document,
    to_index_documents,
    with_uuid,
)
from cde_retrievers.langchain.vector_files import bound_to_context, build_index, open_index, open_or_create_index
from cde_retrievers.langchain.vector_retriever import ContextualVectorStoreRetriever
from cde_retrievers.langchain.vector_search import IndexSearch
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated


class ContextualVectorStore(VectorStore):
    """Documents, vectors and the context they were embedded under, in one directory; nothing in it is pickled.

    Example:
        ```python
        embeddings = ContextualEmbeddings(model="minilm").fit(documents)
        store = ContextualVectorStore.from_documents(documents, embeddings, path="my_index")
        store.similarity_search("a question", k=3, filter={"year": {"$gte": 2020}})

        store = ContextualVectorStore.open("my_index")  # later: model and context come with it
        ```

    Every change is on disk when the call returns. Without a `path` the index is in a temporary directory, which is
    removed with the object. Once the embeddings or the index are refitted, searching and adding raise
    ContextMismatchError until the store is opened again. Safe to use from several threads; one process writes at a
    time. Changes of another process are seen after `store.index.refresh()`, and when something is added.

    A search by a text has a `search_type`: "hybrid" is by its vector and its words together, "similarity" by the vector
    alone, "lexical" by the words alone, which finds only documents that share one with the query. None is "hybrid", or
    "similarity" in an index that was built without words, until `store.index.refit()`. Relevance scores, and with them
    `score_threshold`, are from 0 to 1: of "similarity" (1 + cosine) / 2, of "hybrid" (1 + score) / (2 + a), since the
    score is the cosine plus at most a, `fusion.LEXICAL_WEIGHT`. Both keep the order.

    Every search takes the number of documents `k`, and `filter`, such as `{"year": {"$gte": 2020}}`: see
    `cde_retrievers.index.filters`. A query given as a vector (W) must have been embedded by these embeddings. Unknown
    options are refused. Every search raises

        ContextMismatchError: embeddings or index were refitted since.
        FilterError: the filter is impossible, or names a field that no document has, if such a one is an error.
        ConfigurationError: `k` is not a positive whole number, a vector is not W wide, an option is unknown, or the
            search needs words and the index was built without.
        InvalidTextError: the query is not a text.

    Args:
        embedding: embeddings with a fitted context.
        path: directory of an index to open, or a new or empty directory in which to create one.
        index: an open index to use instead.
        kind: kind of a new index: "flat" (exact, the default), "hnsw" or "ivf" (approximate from 10,000 documents on).
        missing: what a field of a filter is that no document has: an error, or "empty", so that every document is
            without it.

    Raises:
        ConfigurationError: the embeddings are not bound to a context, or the settings contradict each other.
        ContextNotFittedError: their context is not fitted yet.
        ContextMismatchError: the index was built under another context.
        CDEError: as `ContextualIndex.create` and `ContextualIndex.open`.
    """

    @validated
    def __init__(
        self,
        embedding: Embeddings,
        path: str | Path | None = None,
        *,
        index: ContextualIndex | None = None,
        kind: Kind | None = None,
        missing: Missing = "error",
    ) -> None:
        if index is not None and (path is not None or kind is not None):
            raise ConfigurationError("an open index already has a path and a kind; give index= alone")
        if index is None:
            index = open_or_create_index(bound_to_context(embedding), path, kind)
        self._search = IndexSearch(bound_to_context(embedding), index, missing)

    @classmethod
    @validated
    def open(
        cls,
        path: str | Path,
        embedding: Embeddings | None = None,
        *,
        read_only: bool = False,
        missing: Missing = "error",
    ) -> Self:
        """Open a store over an index on disk, made by any program.

        Args:
            path: directory of the index.
            embedding: embeddings under the index's context. If they have no context, the store uses a view of them
                under the index's, its `embeddings`. If None, the model is loaded by the name that the index carries.
            read_only: refuse changes.
            missing: as for the constructor.

        Raises:
            IndexFileError, ContextFileError: the index does not exist, is unfinished, or has damaged files.
            ContextMismatchError: the embeddings are of another model or context.
        """
        given, index = open_index(path, None if embedding is None else bound_to_context(embedding), read_only)
        return cls(given, index=index, missing=missing)

    @classmethod
    @validated
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        path: str | Path | None = None,
        kind: Kind | None = None,
        batch_size: int = BATCH,
        **unknown: Any,
    ) -> Self:
        """Build a store of texts; `from_documents` takes the same options.

        There is nothing to open at `path` before all is done; after an interruption the same call continues from there.
        Texts without an id get the ids "doc-0", "doc-1" and so on. `path` and `kind` are as in the constructor, the
        rest as in `add_texts`.

        Raises:
            PathInUseError: there is an index at `path` already; open it and add to it.
            CDEError: as the constructor and `add_texts`.
        """
        refuse_options(unknown)
        documents = to_index_documents(texts, metadatas, ids)
        return cls(embedding, index=build_index(documents, bound_to_context(embedding), path, kind, batch_size))

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of queries and documents."""
        return self._search.embeddings

    @property
    def index(self) -> ContextualIndex:
        """The index, for operations that LangChain does not have, such as `refresh()` and `optimize()`."""
        return self._search.index

    def add_documents(self, documents: Iterable[Document], **options: Any) -> list[str]:
        """Embed and add documents, with their ids unless `ids` are given; otherwise as `add_texts`."""
        return super().add_documents(checked_documents(documents), **options)

    @validated
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH,
        **unknown: Any,
    ) -> list[str]:
        """Embed texts under the index's context and add them; each replaces the document that had its id.

        Args:
            texts: n texts.
            metadatas: n dictionaries of JSON values.
            ids: n ids; a text without one gets a UUID.
            batch_size: documents per commit.
            unknown: refused.

        Returns:
            The ids, in order.

        Raises:
            ContextMismatchError: embeddings or index were refitted since.
            InvalidDocumentError, InvalidTextError, DuplicateIdError: a document is invalid; none was embedded.
            ConfigurationError: there are more or fewer metadatas or ids than texts, or an option is impossible.
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.add`; complete batches stay added.
        """
        refuse_options(unknown)
        check_whole("batch_size", batch_size, 1)
        documents = list(DocumentValidator().admit(map(with_uuid, to_index_documents(texts, metadatas, ids))))
        self.index.refresh()
        self._search.check_context()
        with progress_bar(len(documents), self._search.embeddings.show_progress, "Indexing", "document") as bar:
            for batch in batches(documents, batch_size):
                self._search.use_context()
                self.index.upsert(batch, show_progress=False)
                bar.update(len(batch))
        return [str(document.id) for document in documents]

    def delete(self, ids: Sequence[str] | None = None, **unknown: Any) -> bool:
        """Remove the documents with these ids, or all documents if `ids` is None, and return True; ignores unknown ids.

        Raises:
            IndexLockedError, ReadOnlyError, WriteError: as `ContextualIndex.delete`.
        """
        refuse_options(unknown)
        if ids is None:
            self.index.refresh()
            ids = self.index.ids()
        self.index.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order; unknown ids are left out."""
        return [from_index_document(found) for found in self.index.get(ids) if found is not None]

    @validated
    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[Document]:
        """Return the best documents for a query, best first."""
        refuse_options(unknown)
        return _documents(self._search.ranked(query, k, filter, search_type))

    @validated
    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        """Return the best documents for a query with their scores, best first.

        The score of "similarity" is the cosine, of "lexical" BM25, of "hybrid" the fusion of both.
        """
        refuse_options(unknown)
        return _scored(self._search.ranked(query, k, filter, search_type))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[Document]:
        """Return the documents nearest to a query's vector, best first."""
        refuse_options(unknown)
        return _documents(self._search.nearest(embedding, k, filter))

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query's vector with their cosines, best first."""
        refuse_options(unknown)
        return _scored(self._search.nearest(embedding, k, filter))

    @validated
    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **unknown: Any,
    ) -> list[Document]:
        """Return documents near to a query and different from each other, in the order of their selection.

        They are selected from the `fetch_k` nearest, at least `k`. `lambda_mult` is the weight of the nearness to the
        query, from 0 (difference only) to 1 (nearness only).
        """
        refuse_options(unknown)
        return _documents(self._search.diverse(query, k, fetch_k, lambda_mult, filter))

    @validated
    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,
        **unknown: Any,
    ) -> list[Document]:
        """Call `max_marginal_relevance_search` with a query's vector."""
        refuse_options(unknown)
        return _documents(self._search.diverse(embedding, k, fetch_k, lambda_mult, filter))

    def search(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Search by "hybrid", "similarity", "lexical", "mmr" or "similarity_score_threshold".

        Raises:
            ConfigurationError: the search type is another.
        """
        if is_ranked(search_type):
            return self.similarity_search(query, search_type=search_type, **kwargs)
        return super().search(query, search_type, **kwargs)

    async def asearch(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Call `search` without blocking the event loop."""
        return await run_in_executor(None, self.search, query, search_type, **kwargs)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever over this store.

        Args:
            kwargs: fields of the retriever: `search_type`, one of those of `search`, by default "hybrid", or
                "similarity" over an index that was built without words; `search_kwargs`, arguments of that search.
        """
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        options = {"search_type": SEARCHES[self.index.mode], **kwargs}
        return ContextualVectorStoreRetriever(vectorstore=self, tags=tags, **options)

    @validated
    def _similarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,
        search_type: RankedSearch | None = None,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        refuse_options(unknown)
        return [
            (from_index_document(hit), score) for hit, score in self._search.relevant(query, k, filter, search_type)
        ]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(None, self._similarity_search_with_relevance_scores, query, k, **kwargs)


def _documents(hits: list[Hit]) -> list[Document]:
    return [from_index_document(hit) for hit in hits]


def _scored(hits: list[Hit]) -> list[tuple[Document, float]]:
    return [(from_index_document(hit), hit.score) for hit in hits]
