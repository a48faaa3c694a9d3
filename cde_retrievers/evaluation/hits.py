"""The results of a search. Axes: Q queries, D documents, K hits, W width."""

from collections.abc import Sequence
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
        order = np.lexsort((rows, -best), axis=1)
        return cls(np.take_along_axis(rows, order, axis=1), np.take_along_axis(best, order, axis=1))

    @classmethod
    def joined(cls, parts: Sequence["Hits"]) -> "Hits":
        """Of queries that were searched in several parts, each with as many hits per query."""
        return cls(np.concatenate([part.rows for part in parts]), np.concatenate([part.scores for part in parts]))

    def run(self, data: RetrievalDataset) -> dict[str, dict[str, float]]:
        """Return the score by document id, by query id.

        Args:
            data: what was searched.
        """
        return data.judged.run_of(
            [(data.ids[row], float(score)) for row, score in zip(rows, scores, strict=True) if score > -np.inf]
            for rows, scores in zip(self.rows, self.scores, strict=True)
        )
