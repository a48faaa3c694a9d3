"""Postings: the sparse rows of documents by term, so that a query reads only what contains its terms.

Axes: R rows, T distinct terms, P postings.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.sparse.analyzer import TERM_LIMIT

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Numbers = NDArray[np.int32]
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """For each term the documents that contain it, and its weight in each.

    Attributes:
        terms: distinct terms (T,) int32, ascending.
        bounds: where the postings of each term begin, and P: (T + 1,) int64.
        rows: row of the document of each posting (P,) int32, ascending within a term.
        weights: weight of the term in that document (P,) float32.
    """

    terms: Numbers
    bounds: NDArray[np.int64]
    rows: Numbers
    weights: Weights

    @classmethod
    def of(cls, matrix: "csr_matrix") -> Self:
        """Return the postings of sparse rows (R, 2^24)."""
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
        return cls._sorted(matrix.indices, rows, matrix.data)

    @classmethod
    def joined(cls, parts: Iterable[tuple["Postings", NDArray[np.int64]]]) -> Self:
        """Return the postings of documents from several parts.

        Args:
            parts: the postings, and the rows of each that are kept, ascending; they are numbered in this order.
        """
        terms, rows, weights = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        first = 0
        for part, kept in parts:
            numbers = np.full(max(kept.max(initial=-1), part.rows.max(initial=-1)) + 1, -1, dtype=np.int32)
            numbers[kept] = np.arange(first, first + len(kept), dtype=np.int32)
            new = numbers[part.rows]
            stays = new >= 0
            terms.append(np.repeat(part.terms, np.diff(part.bounds))[stays])
            rows.append(new[stays])
            weights.append(part.weights[stays])
            first += len(kept)
        return cls._sorted(np.concatenate(terms), np.concatenate(rows), np.concatenate(weights))

    @classmethod
    def _sorted(cls, terms: Numbers, rows: Numbers, weights: Weights) -> Self:
        """Sort postings by term; the order within a term stays."""
        order = np.argsort(terms, kind="stable")
        distinct, starts = np.unique(terms[order], return_index=True)
        bounds = np.append(starts, len(order)).astype(np.int64)
        return cls(distinct.astype(np.int32), bounds, rows[order].astype(np.int32), weights[order].astype(np.float32))

    def contradiction(self, rows: int) -> str | None:
        """Describe what makes these no postings of that many rows; None if nothing does."""
        terms, bounds = self.terms, self.bounds
        if len(bounds) != len(terms) + 1 or bounds[0] != 0 or (np.diff(bounds) < 1).any():
            return "its bounds do not ascend from 0"
        if not bounds[-1] == len(self.rows) == len(self.weights):
            return f"it has {len(self.rows)} rows and {len(self.weights)} weights for {bounds[-1]} postings"
        if len(terms) and not (terms[0] >= 0 and terms[-1] < TERM_LIMIT and (np.diff(terms) > 0).all()):
            return f"its terms do not ascend within [0, {TERM_LIMIT})"
        if not (self.rows.min(initial=0) >= 0 and self.rows.max(initial=-1) < rows):
            return f"it names rows outside [0, {rows})"
        if not (self.weights.min(initial=0) >= 0 and self.weights.max(initial=0) < np.inf):
            return "it holds weights that are negative or not finite"
        return None

    def add_scores(self, terms: Numbers, weights: Weights, scores: NDArray[np.float32]) -> None:
        """Add the product of a query with every row to `scores` (R,).

        Args:
            terms: distinct terms (t,) of the query.
            weights: their weights (t,).
            scores: changed in place.
        """
        for start, stop, weight in self._found(terms, weights):
            # No row occurs twice within a term, so that this adds each posting once.
            scores[self.rows[start:stop]] += weight * self.weights[start:stop]

    def _found(self, terms: Numbers, weights: Weights) -> Iterator[tuple[int, int, np.float32]]:
        places = np.searchsorted(self.terms, terms)
        for term, place, weight in zip(terms, places, weights, strict=True):
            if place < len(self.terms) and self.terms[place] == term:
                yield int(self.bounds[place]), int(self.bounds[place + 1]), weight
