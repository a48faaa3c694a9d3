"""The results of a search. Axes: Q queries, D documents, K hits, W width."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.evaluation.dataset import RetrievalDataset
from cde_retrievers.retrieval.exact_search import exact_search, top_rows
from cde_retrievers.validation.vectors import Embeddings

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hits:
    """The best documents of each query, best first.

    Attributes:
        rows: places of the documents in the corpus (Q, K).
        scores: theirs (Q, K); a document that scores -inf was not found.
    """

    rows: Rows
    scores: Scores

    @classmethod
    def of_vectors(cls, documents: Embeddings, queries: Embeddings, depth: int) -> "Hits":
        """Search unit rows (D, W) exactly for unit rows (Q, W)."""
        everything = np.ones(len(documents), dtype=np.bool_)
        scores, rows = exact_search(queries, [(0, documents, everything)], depth)
        return cls(rows, scores)

    @classmethod
    def of_scores(cls, scores: Scores, depth: int) -> "Hits":
        """By the scores of all documents (Q, D); equal ones come in the order of the corpus."""
        best, rows = top_rows(scores, np.arange(scores.shape[1]), depth)
        return cls.ordered(rows, best)

    @classmethod
    def ordered(cls, rows: Rows, scores: Scores) -> "Hits":
        """Of hits in any order (Q, K); equal ones come in the order of the corpus."""
        order = np.lexsort((rows, -scores), axis=1)
        return cls(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))

    @classmethod
    def joined(cls, parts: Sequence["Hits"]) -> "Hits":
        """Of queries that were searched in several parts, each with as many hits per query."""
        return cls(np.concatenate([part.rows for part in parts]), np.concatenate([part.scores for part in parts]))

    def without(self, rows: Rows, depth: int) -> "Hits":
        """Leave one document of each query out, and keep the `depth` best others.

        Args:
            rows: what is left out (Q,); -1 for nothing.
            depth: hits per query.
        """
        is_left_out = self.rows == rows[:, None]
        order = np.argsort(is_left_out, axis=1, kind="stable")[:, :depth]
        scores = np.where(is_left_out, np.float32(-np.inf), self.scores)
        return Hits(np.take_along_axis(self.rows, order, axis=1), np.take_along_axis(scores, order, axis=1))

    def run(self, data: RetrievalDataset) -> dict[str, dict[str, float]]:
        """Return the score by document id, best first, by query id; as `JudgedQueries.run_of`.

        Args:
            data: what was searched.
        """
        return data.judged.run_of(
            [(data.ids[row], float(score)) for row, score in zip(rows, scores, strict=True) if score > -np.inf]
            for rows, scores in zip(self.rows, self.scores, strict=True)
        )


def hits_of_others(data: RetrievalDataset, depth: int, search: Callable[[int], Hits]) -> Hits:
    """Search, and leave a query that is itself a document of the corpus out of its own hits.

    Args:
        data: what is searched.
        depth: hits per query; as many are found although one is left out, unless the corpus has fewer.
        search: finds as many documents for each query as it is given.
    """
    own = data.own_rows
    return search(depth) if np.all(own < 0) else search(depth + 1).without(own, depth)
