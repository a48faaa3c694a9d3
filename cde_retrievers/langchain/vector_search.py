"""Searches of an index by text, vector and marginal relevance, under the context of LangChain's embeddings.

Axes: W width.
"""

from collections.abc import Sequence

from langchain_core.vectorstores.utils import maximal_marginal_relevance

from cde_retrievers.binding.check import ContextCheck
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError, shown
from cde_retrievers.index import ContextualIndex, Filter, Hit
from cde_retrievers.index.filters import Missing
from cde_retrievers.langchain.embeddings import ContextBoundEmbeddings
from cde_retrievers.langchain.search_types import MODES, RankedSearch, refuse_unbounded, relevance
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings, checked_vectors, checked_width


class IndexSearch:
    """Searches an index with queries embedded under its own context; errors are those of `ContextualVectorStore`.

    Args:
        embeddings: embeddings under the index's context.
        index: the index to search.
        missing: what a field of a filter is that no document has.

    Raises:
        ContextNotFittedError: the embeddings have no context.
        ContextMismatchError: the index was built under another context.
    """

    def __init__(self, embeddings: ContextBoundEmbeddings, index: ContextualIndex, missing: Missing) -> None:
        self.embeddings = embeddings
        self.index = index
        self._missing = missing
        self.check_context()
        if len(index) > 0:
            self.use_context()

    def check_context(self) -> None:
        """Raise ContextMismatchError if index and embeddings are of different contexts."""
        ContextCheck(
            theirs=self.index.context.fingerprint, yours=self.embeddings.context.fingerprint
        ).raise_if_different()

    def use_context(self) -> CorpusContext:
        """Return the context of index and embeddings, and mark it as used; raises as `check_context`."""
        self.check_context()
        return self.embeddings.use_context(self.index.context.fingerprint)

    def ranked(self, query: str, k: int, allowed: Filter | None, search_type: RankedSearch | None) -> list[Hit]:
        """Return the best documents for a query; without a search type, in the index's own mode."""
        mode = self.index.mode if search_type is None else MODES[search_type]
        context = self.use_context()
        if mode == "lexical":
            return self.index.search(query, k, allowed, mode=mode, missing=self._missing)
        texts = [query] if mode == "hybrid" else None
        return self._hits(self._embedded(query, context), context, k, allowed, texts)

    def relevant(
        self, query: str, k: int, allowed: Filter | None, search_type: RankedSearch | None
    ) -> list[tuple[Hit, float]]:
        """Return the best documents for a query with their relevance from 0 to 1."""
        refuse_unbounded(self.index.mode if search_type is None else MODES[search_type])
        return [(hit, relevance(hit)) for hit in self.ranked(query, k, allowed, search_type)]

    def nearest(self, vector: Sequence[float], k: int, allowed: Filter | None) -> list[Hit]:
        """Return the documents nearest to a query's vector (W,)."""
        return self._hits(_query_row(vector), self.use_context(), k, allowed)

    def diverse(
        self, query: str | Sequence[float], k: int, fetch_k: int, lambda_mult: float, allowed: Filter | None
    ) -> list[Hit]:
        """Return documents by maximal marginal relevance, for a query's text or vector (W,)."""
        check_whole("k", k, 1)
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult must be a number from 0 to 1, found {shown(lambda_mult)}")
        context = self.use_context()
        row = self._embedded(query, context) if isinstance(query, str) else _query_row(query)
        hits, vectors = self._candidates(row, context, max(k, fetch_k), allowed)
        asked = self.index.cut(row)[0]
        return [hits[position] for position in maximal_marginal_relevance(asked, vectors.tolist(), lambda_mult, k)]

    def _candidates(
        self, query: Embeddings, context: CorpusContext, count: int, allowed: Filter | None
    ) -> tuple[list[Hit], Embeddings]:
        """Return the documents nearest to a query (1, W) and their vectors (n, W)."""
        while True:
            hits = self._hits(query, context, count, allowed)
            try:
                vectors = self.index.vectors([hit.id for hit in hits])
            except KeyError:  # another thread deleted one of them
                continue
            self.check_context()  # another thread may have refitted the index
            return hits, vectors

    def _hits(
        self, query: Embeddings, context: CorpusContext, k: int, allowed: Filter | None, texts: list[str] | None = None
    ) -> list[Hit]:
        """Return the best documents for a query (1, W) under the context; its text makes the search hybrid."""
        (found,) = self.index.search_embedded(
            query, context.fingerprint, k, allowed, texts=texts, missing=self._missing
        )
        return found

    def _embedded(self, query: str, context: CorpusContext) -> Embeddings:
        embedder = self.embeddings.embedder
        answer = embedder.encode_queries([query], context, show_progress=False)
        return checked_embeddings(answer, 1, checked_width(embedder.width))


def _query_row(vector: Sequence[float]) -> Embeddings:
    return checked_vectors([vector], 1, None, ConfigurationError)
