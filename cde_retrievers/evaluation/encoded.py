"""A set encoded for search by vectors, by words, or by both. Axes: D documents, Q queries, W width."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.evaluation.hits import Hits, Scores
from cde_retrievers.index.queries import Mode
from cde_retrievers.retrieval.fusion import lexical_bonus, query_mass
from cde_retrievers.sparse import TermStatistics
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.sparse.postings import Postings
from cde_retrievers.validation.vectors import Embeddings, checked_embeddings, checked_width

_SCORES = 1 << 23  # scores in memory at a time: 32 MB each of cosines, BM25 and their fusion


@dataclass(frozen=True, slots=True, eq=False)
class DenseView:
    """The vectors of a set.

    Attributes:
        documents: unit rows (D, W).
        queries: unit rows (Q, W).
    """

    documents: Embeddings
    queries: Embeddings

    @classmethod
    def of(
        cls, encoder: Embedder, data: RetrievalDataset, context: CorpusContext, show_progress: bool | None
    ) -> "DenseView":
        """Embed a set under a context.

        Raises:
            EmbeddingServiceError: the encoder did not return one unit vector for each text.
        """
        asked = list(data.judged.queries.values())
        documents = encoder.encode_documents(data.texts, context, show_progress)
        queries = encoder.encode_queries(asked, context, show_progress=False)
        width = checked_width(encoder.width)
        return cls(
            checked_embeddings(documents, len(data.texts), width), checked_embeddings(queries, len(asked), width)
        )

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, slots=True, eq=False)
class LexicalView:
    """The words of a set, weighted by term statistics.

    Attributes:
        documents: D.
        postings: of the documents.
        queries: sparse rows (Q, 2^24).
    """

    documents: int
    postings: Postings
    queries: csr_matrix

    @classmethod
    def of(cls, data: RetrievalDataset, statistics: TermStatistics) -> "LexicalView":
        """Count the words of a set.

        Raises:
            ContextMismatchError: the installed analyzer yields other words than the one that made the statistics.
        """
        postings = Postings.of(document_rows(data.texts, statistics))
        return cls(len(data.texts), postings, query_rows(data.judged.queries.values(), statistics))

    def __len__(self) -> int:
        return int(self.queries.shape[0])

    def scores(self, start: int, stop: int) -> Scores:
        """BM25 of every document for the queries from `start` to `stop` (q, D); 0 where no word is shared."""
        scores = np.zeros((stop - start, self.documents), dtype=np.float32)
        bounds = self.queries.indptr[start : stop + 1].tolist()
        for row, (first, last) in zip(scores, pairwise(bounds), strict=True):
            self.postings.add_scores(self.queries.indices[first:last], self.queries.data[first:last], row)
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class EncodedDataset:
    """A set under a context, searched by all views that it has; at least one.

    Attributes:
        dense: its vectors.
        lexical: its words.
    """

    dense: DenseView | None
    lexical: LexicalView | None

    def in_mode(self, mode: Mode) -> "EncodedDataset":
        """The same set with the views that a mode searches by."""
        return EncodedDataset(
            None if mode == "lexical" else self.dense,
            None if mode == "dense" else self.lexical,
        )

    def hits(self, depth: int) -> Hits:
        """The `depth` best documents of each query: by cosine, by BM25, or by the fusion of both, as an index does.

        By words alone, a document that shares none with the query is not found.
        """
        if self.lexical is None:
            assert self.dense is not None, "a set has at least one view"
            return Hits.of_vectors(self.dense.documents, self.dense.queries, depth)
        step = max(1, _SCORES // self.lexical.documents)
        bounds = [*range(0, len(self.lexical), step), len(self.lexical)]
        return Hits.joined([Hits.of_scores(self._scores(*block), depth) for block in pairwise(bounds)])

    def _scores(self, start: int, stop: int) -> Scores:
        """Score every document for the queries from `start` to `stop` (q, D)."""
        assert self.lexical is not None, "vectors alone are searched block by block of documents"
        words = self.lexical.scores(start, stop)
        if self.dense is None:
            return np.where(words > 0, words, np.float32(-np.inf))
        bonus = lexical_bonus(words, query_mass(self.lexical.queries[start:stop]))
        return self.dense.queries[start:stop] @ self.dense.documents.T + bonus
