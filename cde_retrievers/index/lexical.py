"""Search by words: BM25 under the context, for every row of a generation. Axes: Q queries, R rows, K hits."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.exact_search import Rows, Scores
from cde_retrievers.retrieval.fusion import best_of_few, lexical_bonus, query_mass

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, slots=True, eq=False)
class LexicalScores:
    """BM25 of every row for a few queries.

    Attributes:
        scores: (Q, R); 0 for rows that share no word with the query, and for those that may not be found.
        mass: mass of the queries (Q,), by which `lexical_bonus` weighs the scores.
    """

    scores: Scores
    mass: Scores

    @classmethod
    def of(cls, snapshot: Snapshot, queries: "csr_matrix", allowed: NDArray[np.bool_]) -> "LexicalScores":
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
        return cls(scores, query_mass(queries))

    def bonus(self, start: int, stop: int) -> Scores:
        """Return what the rows from `start` to `stop` gain by their words (Q, stop - start)."""
        return lexical_bonus(self.scores[:, start:stop], self.mass)

    def bonus_of_candidates(self, query: int, rows: Rows) -> Scores:
        """Return what some rows (C,) gain by their words for one query (C,)."""
        gained: Scores = lexical_bonus(self.scores[None, query, rows], self.mass[query : query + 1])[0]
        return gained

    def candidates(self, query: int, count: int, rows: int) -> Rows:
        """Return those of the first `rows` rows that are best for one query by its words, at most `count`."""
        return best_of_few(self.scores[query, :rows], count)

    def best(self, k: int) -> list[tuple[Scores, Rows]]:
        """Return the best scores and rows of each query, best first, of at most `k` rows that share a word with it."""
        found = []
        for scores in self.scores:
            rows = best_of_few(scores, k)
            rows = rows[np.lexsort((rows, -scores[rows]))]
            found.append((scores[rows], rows))
        return found
