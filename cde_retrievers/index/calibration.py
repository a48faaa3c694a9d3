"""Calibration of approximate search: the least effort with which it finds a stated share of the nearest rows.

Queries are drawn between the index's own vectors: a vector itself is too easy a query where a corpus holds many near
copies, each of which has the others beside it (`docs/results.md`). Exact search says what is right.

Axes: Q queries, W width, C candidates.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.packed_vectors import PackedVectors, gathered
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.validation.vectors import Embeddings, unit_rows

K = 10
"""Number of nearest rows that count."""
_QUERIES = 200
_VECTORS_OF_QUERY = 8
_LEAST_GAIN = 0.001  # of recall, by twice the effort
_EQUAL = 1e-6  # scores that differ by less count as equal: products depend on the order of additions

Stored = Embeddings | PackedVectors
Search = Callable[[Embeddings, int], NDArray[np.int64]]
"""Takes queries (Q, W) and an effort, and returns candidates (Q, C), -1 where there are fewer."""


def least_effort(search: Search, parts: Sequence[Stored], recall: float, least: int, most: int) -> int:
    """Return the least effort from `least` to `most` that reaches a recall of the `K` nearest.

    Where twice the effort finds no more, something else limits the recall, such as rows whose codes are the same; then
    the effort is returned from which on it finds no more.

    Args:
        search: the approximate search; more effort finds more.
        parts: the vectors it searches, each (R, W), numbered through all parts.
        recall: mean share of the nearest rows that must be among the candidates, from 0 to 1.
        least: effort to begin with.
        most: greatest effort.
    """
    sample = _Sample(parts)

    def found(effort: int) -> float:
        return sample.recall(search(sample.queries, effort))

    below, effort, reached = least - 1, least, found(least)
    while reached < recall:
        more = min(2 * effort, most)
        gained = found(more) - reached if more > effort else 0.0
        if gained < _LEAST_GAIN:
            return effort
        below, effort, reached = effort, more, reached + gained
    while effort - below > 1:
        middle = (below + effort) // 2
        below, effort = (below, middle) if found(middle) >= recall else (middle, effort)
    return effort


class _Sample:
    """Queries between vectors of the index, and how near the nearest rows are to each.

    Attributes:
        queries: sums of `_VECTORS_OF_QUERY` vectors, scaled to length 1 (Q, W).
    """

    def __init__(self, parts: Sequence[Stored]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        rows = np.random.default_rng(0).integers(0, self._starts[-1], (_QUERIES, _VECTORS_OF_QUERY))
        self.queries = unit_rows(self._vectors(rows.ravel()).reshape(*rows.shape, -1).sum(axis=1))
        everything = (
            (int(start), part, np.ones(len(part), dtype=np.bool_))
            for start, part in zip(self._starts[:-1], parts, strict=True)
        )
        scores, _ = exact_search(self.queries, everything, K)
        self._count = scores.shape[1]
        self._least_score = scores[:, -1:] - _EQUAL

    def recall(self, candidates: NDArray[np.int64]) -> float:
        """Return the mean share of the nearest rows that are among the candidates (Q, C); equals are as good."""
        found = [
            np.count_nonzero(self._vectors(rows[rows >= 0]) @ query >= least)
            for rows, query, least in zip(candidates, self.queries, self._least_score, strict=True)
        ]
        return float(np.minimum(found, self._count).mean() / self._count)

    def _vectors(self, rows: NDArray[np.int64]) -> Embeddings:
        """Copy the vectors of n rows -> (n, W)."""
        return gathered(self._parts.__getitem__, self._starts, rows, self._parts[0].shape[1])
