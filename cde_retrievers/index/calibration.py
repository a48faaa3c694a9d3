"""Calibration of approximate search: the least effort with which it finds a stated share of the nearest rows.

Queries are some of the index's own vectors, each of which looks for the others; exact search says what is right.

Axes: Q queries, W width, C candidates.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.packed_vectors import PackedVectors
from cde_retrievers.retrieval.exact_search import exact_search
from cde_retrievers.validation.vectors import Embeddings

K = 10
"""Number of nearest rows that count."""
_QUERIES = 200
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
    """Some rows of the index, spread evenly, and how near the nearest other rows are to each.

    Attributes:
        queries: their vectors (Q, W).
    """

    def __init__(self, parts: Sequence[Stored]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        total = int(self._starts[-1])
        self._rows = np.unique(np.linspace(0, total - 1, min(_QUERIES, total)).astype(np.int64))
        self.queries = self._vectors(self._rows)
        everything = (
            (int(start), part, np.ones(len(part), dtype=np.bool_))
            for start, part in zip(self._starts[:-1], parts, strict=True)
        )
        # A row is as near to itself as any: the others are what remains when one of the best is left out.
        scores, _ = exact_search(self.queries, everything, K + 1)
        self._count = scores.shape[1] - 1
        self._least_score = scores[:, -1:] - _EQUAL

    def recall(self, candidates: NDArray[np.int64]) -> float:
        """Return the mean share of the nearest other rows that are among the candidates (Q, C); equals are as good."""
        if self._count == 0:
            return 1.0
        others = (candidates >= 0) & (candidates != self._rows[:, None])
        found = [
            np.count_nonzero(self._vectors(rows[those]) @ query >= least)
            for rows, those, query, least in zip(candidates, others, self.queries, self._least_score, strict=True)
        ]
        return float(np.minimum(found, self._count).mean() / self._count)

    def _vectors(self, rows: NDArray[np.int64]) -> Embeddings:
        """Copy the vectors of n rows -> (n, W)."""
        found = np.empty((len(rows), self._parts[0].shape[1]), dtype=np.float32)
        places = np.searchsorted(self._starts, rows, side="right") - 1
        for place in np.unique(places):
            here = places == place
            found[here] = self._parts[place][rows[here] - self._starts[place]]
        return found
