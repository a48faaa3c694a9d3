"""The searches of LangChain's vector store that are of vectors alone, over an index that carries its context.

Axes: W width.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex, Filter, Hit
from cde_retrievers.langchain.vector_documents import from_index_document
from cde_retrievers.langchain.vector_files import bound_to_context
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import Embeddings as Vectors
from cde_retrievers.validation.vectors import checked_embeddings, checked_vectors, checked_width


class DenseSearch(VectorStore):
    """Searches of `ContextualVectorStore` by a query's vector, and by marginal relevance.

    Every search takes `k`, and `filter`, a mapping such as `{"year": {"$gte": 2020}}`: see
    `cde_retrievers.index.filters`. A query given as a vector (W) must have been embedded by these embeddings. Unknown
    options are refused. Every search raises

        ContextMismatchError: embeddings or index were refitted since.
        FilterError: the filter is impossible, or names a field that no document has.
        ConfigurationError: `k` is not a positive whole number, a vector is not W wide, or an option is unknown.
        InvalidTextError: the query is not a text.

    Args:
        embedding: embeddings under the index's context.
        index: the index to search.

    Raises:
        ConfigurationError: the embeddings are not bound to a context.
        ContextNotFittedError: their context is not fitted yet.
        ContextMismatchError: the index was built under another context.
    """

    def __init__(self, embedding: Embeddings, index: ContextualIndex) -> None:
        self._embeddings = bound_to_context(embedding)
        self._index = index
        self._check_context()
        if len(index) > 0:
            self._embeddings.use_context(index.context.fingerprint)

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of queries and documents."""
        return self._embeddings

    @property
    def index(self) -> ContextualIndex:
        """The index, for operations that LangChain does not have, such as `refresh()` and `optimize()`."""
        return self._index

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order; unknown ids are left out."""
        return [from_index_document(found) for found in self._index.get(ids) if found is not None]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[Document]:
        """Return the documents nearest to a query's vector, best first."""
        scored = self.similarity_search_with_score_by_vector(embedding, k, filter=filter, **unknown)
        return [found for found, _ in scored]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Return the documents nearest to a query's vector with their cosines, best first."""
        refuse_options(unknown)
        return scored(self._hits(_query_vector(embedding), self._context(), k, filter))

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

        Args:
            query: a question.
            k: number of documents.
            fetch_k: number of nearest documents to select from; at least `k` are used.
            lambda_mult: weight of the nearness to the query, from 0 (difference only) to 1 (nearness only).
            filter: a filter that the documents pass.
            unknown: refused.
        """
        refuse_options(unknown)
        context = self._context()
        return self._diverse(self._embedded(query, context), context, k, fetch_k, lambda_mult, filter)

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
        return self._diverse(_query_vector(embedding), self._context(), k, fetch_k, lambda_mult, filter)

    def _diverse(
        self, query: Vectors, context: CorpusContext, k: int, fetch_k: int, lambda_mult: float, allowed: Filter | None
    ) -> list[Document]:
        """Return documents by maximal marginal relevance, for a query (1, W) under the context."""
        check_whole("k", k, 1)
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult must be a number from 0 to 1, found {shown(lambda_mult)}")
        hits, vectors = self._candidates(query, context, max(k, fetch_k), allowed)
        chosen = maximal_marginal_relevance(query[0], vectors.tolist(), lambda_mult, k)
        return [from_index_document(hits[position]) for position in chosen]

    def _candidates(
        self, query: Vectors, context: CorpusContext, count: int, allowed: Filter | None
    ) -> tuple[list[Hit], Vectors]:
        """Return the nearest documents and their vectors (n, W)."""
        while True:
            hits = self._hits(query, context, count, allowed)
            try:
                vectors = self._index.vectors([hit.id for hit in hits])
            except KeyError:  # another thread deleted one of them
                continue
            self._check_context()  # another thread may have refitted the index
            return hits, vectors

    def _hits(
        self, query: Vectors, context: CorpusContext, k: int, allowed: Filter | None, texts: list[str] | None = None
    ) -> list[Hit]:
        """Return the best documents for a query (1, W) under the context; its text makes the search hybrid."""
        return self._index.search_embedded(query, context.fingerprint, k, allowed, texts=texts)[0]

    def _embedded(self, query: str, context: CorpusContext) -> Vectors:
        embedder = self._embeddings.embedder
        answer = embedder.encode_queries([query], context, show_progress=False)
        return checked_embeddings(answer, 1, checked_width(embedder.width))

    def _context(self) -> CorpusContext:
        """Return the context of index and embeddings, and mark it as used."""
        self._check_context()
        return self._embeddings.use_context(self._index.context.fingerprint)

    def _check_context(self) -> None:
        ContextCheck(
            theirs=self._index.context.fingerprint, yours=self._embeddings.context.fingerprint
        ).raise_if_different()


def refuse_options(options: dict[str, Any]) -> None:
    """Raise ConfigurationError if there are options: a misspelt one would have no effect."""
    if options:
        raise ConfigurationError(
            f"option {sorted(options)[0]!r} is unknown to ContextualVectorStore here; a search takes k and filter "
            f"(by a text search_type too, by 'mmr' fetch_k and lambda_mult, by 'similarity_score_threshold' "
            f"score_threshold), adding takes ids and batch_size, a new store path and kind"
        )


def _query_vector(vector: Sequence[float]) -> Vectors:
    return checked_vectors([vector], 1, None, ConfigurationError)


def scored(hits: list[Hit]) -> list[tuple[Document, float]]:
    """Return each hit's document with its score."""
    return [(from_index_document(hit), hit.score) for hit in hits]
