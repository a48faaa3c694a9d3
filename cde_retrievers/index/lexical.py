"""Search by words: BM25 under the context, for every row of a generation. Axes: Q queries, R rows, K hits."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.exact_search import Rows, Scores
from cde_retrievers.retrieval.fusion import best_above_zero, lexical_bonus, query_mass

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

    def bonus_of_candidates(self, rows: Rows) -> Scores:
        """Return what each query's own rows (Q, C) gain by their words (Q, C); for -1, of no meaning."""
        return lexical_bonus(np.take_along_axis(self.scores, np.maximum(rows, 0), axis=1), self.mass)

    def joined(self, near: Rows, rows: int) -> Rows:
        """Join candidates (Q, C) with as many of the first `rows` rows that are best by words.

        Returns:
            For each query its rows without repetition, then -1 where others have more (Q, at most 2 C).
        """
        found = [
            np.union1d(candidates[candidates >= 0], best_above_zero(scores[:rows], near.shape[1]))
            for candidates, scores in zip(near, self.scores, strict=True)
        ]
        result = np.full((len(found), max(map(len, found))), -1, dtype=np.int64)
        for row, candidates in zip(result, found, strict=True):
            row[: len(candidates)] = candidates
        return result

    def best(self, k: int) -> list[tuple[Scores, Rows]]:
        """Return the best scores and rows of each query, best first, of at most `k` rows that share a word with it."""
        found = []
        for scores in self.scores:
            rows = best_above_zero(scores, k)
            rows = rows[np.lexsort((rows, -scores[rows]))]
            found.append((scores[rows], rows))
        return found
