"""The searches of LangChain's vector store interface, answered by an index under the embeddings' context.

Axes: W width.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex, Filter, Hit
from cde_retrievers.langchain.vector_documents import to_langchain
from cde_retrievers.langchain.vector_files import bound_to_context
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import Embeddings as Vectors
from cde_retrievers.validation.vectors import checked_embeddings, checked_vectors, checked_width


class ContextualSearch(VectorStore):
    """The reading half of `ContextualVectorStore`.

    Every search takes `k`, and `filter`, a mapping such as `{"year": {"$gte": 2020}}`: see
    `cde_retrievers.index.filters`. Each raises

        ContextMismatchError: embeddings or index were refitted since.
        FilterError: the filter is impossible, or names a field that no document has.
        ConfigurationError: `k` is not a positive whole number, a vector is not W wide, or an option is unknown.
        InvalidTextError: the query is not a text.

    Args:
        embedding: under the index's context.
        index: what to search.

    Raises:
        ConfigurationError: the embeddings know no context.
        ContextNotFittedError: they have none yet.
        ContextMismatchError: the index was built under another one.
    """

    def __init__(self, embedding: Embeddings, index: ContextualIndex) -> None:
        self._embedding = embedding
        self._bound: ContextBoundMixin = bound_to_context(embedding)
        self._index = index
        self._check_context()
        if len(index) > 0:
            self._bound.use_context(index.context.fingerprint)

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings of queries and documents."""
        return self._embedding

    @property
    def index(self) -> ContextualIndex:
        """The index, for what LangChain has no words for: `refresh()`, `optimize()`, `context`."""
        return self._index

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in their order; those that are not there are left out."""
        return [to_langchain(found) for found in self._index.get(ids) if found is not None]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[Document]:
        """The documents nearest to a query, best first."""
        return [found for found, _ in self.similarity_search_with_score(query, k, filter=filter, **unknown)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search`, each document with its cosine to the query."""
        refuse_unknown(unknown)
        context = self._context()
        return _scored(self._hits(self._embedded(query, context), context, k, filter))

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[Document]:
        """As `similarity_search`, for a query (W) that was embedded by these `embeddings`."""
        scored = self.similarity_search_with_score_by_vector(embedding, k, filter=filter, **unknown)
        return [found for found, _ in scored]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Filter | None = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """As `similarity_search_with_score`, for a query (W) that was embedded by these `embeddings`."""
        refuse_unknown(unknown)
        return _scored(self._hits(_row(embedding), self._context(), k, filter))

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
        """Documents near to the query that differ from each other, in the order in which they were chosen.

        Args:
            query: a question.
            k: documents.
            fetch_k: nearest documents to choose from; at least `k` are looked at.
            lambda_mult: 1 looks at the query alone, 0 at the difference alone.
            filter: which documents may be found.
            unknown: refused.
        """
        refuse_unknown(unknown)
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
        """As `max_marginal_relevance_search`, for a query (W) that was embedded by these `embeddings`."""
        refuse_unknown(unknown)
        return self._diverse(_row(embedding), self._context(), k, fetch_k, lambda_mult, filter)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _relevance

    def _diverse(
        self, query: Vectors, context: CorpusContext, k: int, fetch_k: int, lambda_mult: float, allowed: Filter | None
    ) -> list[Document]:
        """By maximal marginal relevance, for a query (1, W) under the context."""
        if not isinstance(k, int) or k < 1:
            raise ConfigurationError(f"k must be a positive whole number of documents, found {shown(k)}")
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult must be a number from 0 to 1, found {shown(lambda_mult)}")
        hits, vectors = self._candidates(query, context, max(k, fetch_k), allowed)
        chosen = maximal_marginal_relevance(query[0], vectors.tolist(), lambda_mult, k)
        return [to_langchain(hits[position]) for position in chosen]

    def _candidates(
        self, query: Vectors, context: CorpusContext, count: int, allowed: Filter | None
    ) -> tuple[list[Hit], Vectors]:
        """The nearest documents and their vectors (n, W)."""
        while True:
            hits = self._hits(query, context, count, allowed)
            try:
                vectors = self._index.vectors([hit.id for hit in hits])
            except KeyError:  # another thread has deleted one of them meanwhile
                continue
            self._check_context()  # or has refitted the index
            return hits, vectors

    def _hits(self, query: Vectors, context: CorpusContext, k: int, allowed: Filter | None) -> list[Hit]:
        """For a query (1, W) under the context."""
        return self._index.search_embedded(query, context.fingerprint, k, allowed)[0]

    def _embedded(self, query: str, context: CorpusContext) -> Vectors:
        embedder = self._bound.embedder
        answer = embedder.encode_queries([query], context, show_progress=False)
        return checked_embeddings(answer, 1, checked_width(embedder.width))

    def _context(self) -> CorpusContext:
        """The context of index and embeddings, which is in use from now on."""
        self._check_context()
        return self._bound.use_context(self._index.context.fingerprint)

    def _check_context(self) -> None:
        ContextCheck(theirs=self._index.context.fingerprint, yours=self._bound.context.fingerprint).raise_if_different()


def refuse_unknown(options: dict[str, Any]) -> None:
    """Raise ConfigurationError if there are any: an option that is misspelt would do nothing, silently."""
    if options:
        raise ConfigurationError(
            f"ContextualVectorStore does not know the option {sorted(options)[0]!r} here; a search takes k and filter "
            f"(by 'mmr' fetch_k and lambda_mult too, by 'similarity_score_threshold' score_threshold), adding takes ids"
            f" and batch_size, a new store path and kind"
        )


def _row(vector: Sequence[float]) -> Vectors:
    return checked_vectors([vector], 1, None, ConfigurationError)


def _scored(hits: list[Hit]) -> list[tuple[Document, float]]:
    return [(to_langchain(hit), hit.score) for hit in hits]


def _relevance(cosine: float) -> float:
    """From -1 to 1 onto LangChain's scale from 0 to 1; rounding errors do not leave it."""
    return min(1.0, max(0.0, (1.0 + cosine) / 2.0))
