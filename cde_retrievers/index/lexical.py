"""Search by words: BM25 under the context, for every row of a generation. Axes: Q queries, R rows, K hits."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.exact_search import Rows, Scores, top_rows
from cde_retrievers.retrieval.fusion import lexical_weights


@dataclass(frozen=True, slots=True, eq=False)
class LexicalScores:
    """BM25 of every row for a few queries.

    Attributes:
        scores: (Q, R); 0 for rows that share no word with the query, and for those that may not be found.
        weights: what a point of it counts beside the cosine (Q,).
    """

    scores: Scores
    weights: Scores

    @classmethod
    def of(cls, snapshot: Snapshot, queries: csr_matrix, allowed: NDArray[np.bool_]) -> "LexicalScores":
        """Score the rows of a generation.

        Args:
            snapshot: the generation; segments without postings count as without words.
            queries: sparse rows (Q, 2^24).
            allowed: mask (R,) of the rows that may be found.
        """
        scores = np.zeros((queries.shape[0], len(allowed)), dtype=np.float32)
        for start, segment in zip(snapshot.starts[:-1].tolist(), snapshot.segments, strict=True):
            if segment.has_postings:
                for row, (first, stop) in zip(scores, pairwise(queries.indptr.tolist()), strict=True):
                    terms, weights = queries.indices[first:stop], queries.data[first:stop]
                    segment.postings.add_scores(terms, weights, row[start : start + segment.entry.rows])
        if not allowed.all():
            scores[:, ~allowed] = 0
        return cls(scores, lexical_weights(scores))

    def weighted(self, start: int, stop: int) -> Scores:
        """Return what the rows from `start` to `stop` gain by their words (Q, stop - start)."""
        return self.weights[:, None] * self.scores[:, start:stop]

    def candidates(self, query: int, count: int, rows: int) -> Rows:
        """Return those of the first `rows` rows that are best for one query by its words, at most `count`."""
        scores = self.scores[query, :rows]
        best = np.argpartition(scores, -count)[-count:] if count < rows else np.arange(rows)
        return best[scores[best] > 0]

    def best(self, k: int) -> tuple[Scores, Rows]:
        """Return the best scores and rows (Q, K), best first; a row without a word of the query has a score of 0."""
        scores, rows = top_rows(self.scores, np.arange(self.scores.shape[1]), k)
        order = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
