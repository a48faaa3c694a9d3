"""Hybrid search of a vector store that keeps vectors alone, by sparse rows beside it.

Axes: n candidates, R rows, W width.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.external.vector_cache import VectorCache
from cde_retrievers.langchain.stores.registry import find_kind
from cde_retrievers.retrieval.fusion import best_above_zero, lexical_bonus, query_mass
from cde_retrievers.sparse.bm25 import query_rows
from cde_retrievers.stores.sparse_rows_file import SparseRows
from cde_retrievers.stores.sparse_store import SparseStore
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings, checked_width

logger = logging.getLogger(__name__)
Scores = NDArray[np.float32]


class HybridSearch:
    """Scores the best documents of a store by vectors and words, as an index of our own scores them.

    Args:
        store: the vector store.
        embeddings: the embeddings of its documents.
        sparse: the sparse rows of its documents.
        keep_mib: mebibytes of documents' vectors to keep.
    """

    def __init__(self, store: VectorStore, embeddings: ContextBoundMixin, sparse: SparseStore, keep_mib: int) -> None:
        self._store = store
        self._embedder = embeddings.embedder
        self._sparse = sparse
        self._cache = VectorCache(keep_mib)
        self._told: set[str] = set()

    def best(
        self, query: str, context: CorpusContext, k: int, fetch_k: int, options: Mapping[str, Any]
    ) -> list[tuple[Document, float]]:
        """Return the best documents and their scores, best first.

        Args:
            query: a valid text.
            context: the context of store and sparse rows.
            k: number of documents.
            fetch_k: number of candidates by vectors and of candidates by words.
            options: arguments of the store's search. If there are any, its candidates are the only ones.

        Raises:
            ConfigurationError: the store returns documents without ids.
        """
        vector = self._query_vector(query, context)
        rows = self._sparse.rows()
        terms = query_rows([query], context.term_statistics())
        bm25 = _bm25(rows, terms)
        found = self._nearest(query, vector, fetch_k, options)
        self._tell_unknown(found, rows)
        if not options:
            found |= self._best_by_words(rows, bm25, fetch_k, found)
        if not found:
            return []
        documents = list(found.values())
        numbers = [rows.row_of.get(identity) for identity in found]
        lexical = np.array([0 if row is None else bm25[row] for row in numbers], dtype=np.float32)
        cosines = self._document_vectors(documents, context) @ vector
        scores = cosines + lexical_bonus(lexical[None], query_mass(terms))[0]
        return [(documents[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")[:k]]

    def _nearest(self, query: str, vector: Embeddings, count: int, options: Mapping[str, Any]) -> dict[str, Document]:
        """Return the documents nearest to a query's vector (W,), by their ids."""
        try:
            found = self._store.similarity_search_by_vector(vector.tolist(), k=count, **options)
        except NotImplementedError:  # some stores embed every query themselves
            found = self._store.similarity_search(query, k=count, **options)
        return by_id(self._store, found)

    def _best_by_words(
        self, rows: SparseRows, bm25: Scores, count: int, found: Mapping[str, Document]
    ) -> dict[str, Document]:
        """Return the documents that are best by words, without those found before and those that the store lost."""
        best = np.sort(best_above_zero(bm25, count))
        wanted = [rows.ids[row] for row in best if rows.ids[row] not in found]
        read = self._store.get_by_ids(wanted) if wanted else []
        named = by_id(self._store, read)
        gone = [identity for identity in wanted if identity not in named]
        if gone:
            self._tell(
                "gone",
                f"the sparse rows hold documents that the store no longer has, such as {gone[0]!r}; they are skipped: "
                f"delete documents by the retriever's delete()",
            )
        return named

    def _tell_unknown(self, found: Mapping[str, Document], rows: SparseRows) -> None:
        unknown = [identity for identity in found if identity not in rows.row_of]
        if unknown:
            self._tell(
                "unknown",
                f"the store holds documents without sparse rows, such as {unknown[0]!r}; their words count nothing: "
                f"add documents by the retriever's add_documents()",
            )

    def _tell(self, what: str, message: str) -> None:
        """Log a warning, once for each kind."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s", message)

    def _query_vector(self, query: str, context: CorpusContext) -> Embeddings:
        answer = self._embedder.encode_queries([query], context, show_progress=False)
        vector: Embeddings = checked_embeddings(answer, 1, checked_width(self._embedder.width))[0]
        return vector

    def _document_vectors(self, documents: Sequence[Document], context: CorpusContext) -> Embeddings:
        """Return vectors (n, W), those of new texts embedded."""
        width = checked_width(self._embedder.width)

        def embed(texts: list[str]) -> list[Embeddings]:
            answer = self._embedder.encode_documents(texts, context, show_progress=False)
            return [checked_embeddings(answer, len(texts), width)]

        return self._cache.vectors([document.page_content for document in documents], width, embed)


def by_id(store: VectorStore, documents: Iterable[Document]) -> dict[str, Document]:
    """Return documents that a store returned by their ids.

    Raises:
        ConfigurationError: it returned one without an id.
    """
    kind = find_kind(store)
    found = {(document.id if kind is None else kind.id_of(document)): document for document in documents}
    if None in found:
        raise ConfigurationError(
            f"{type(store).__name__} returns documents without ids, so that their words cannot be found; update its "
            f"package, or use a ContextualVectorStore"
        )
    return {str(identity): document for identity, document in found.items()}


def _bm25(rows: SparseRows, terms: csr_matrix) -> Scores:
    """Return the BM25 of every row (R,) for a query as a sparse row."""
    scores = np.zeros(len(rows.ids), dtype=np.float32)
    rows.postings.add_scores(terms.indices, terms.data, scores)
    return scores
