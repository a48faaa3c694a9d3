"""Exact search: the best rows by inner product among the allowed ones.

One matrix product per block of rows over the mapped file, and nothing is copied but the rows that a filter leaves, if
they are less than half.

Axes: Q queries, R rows, W width, K hits.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.validation.vectors import Embeddings

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]
_BLOCK_SCORES = 1 << 23  # scores in memory at a time: 32 MB
_BLOCK_ROWS = 1 << 16  # rows of a block; what the best so far rule out is never sorted
_BLOCK_HITS = 4  # rows of a block for each hit at least, since the best so far are sorted again with every block
_COPIED_SHARE = 0.5  # share of allowed rows below which copying them costs less than the scores of all
_COPIED_ROWS = 2_048  # copied at a time, so that they are multiplied while they are in the processor's cache


class StoredVectors(Protocol):
    """Vectors (R, W) in a form of their own, which computes its products with queries itself."""

    def __len__(self) -> int: ...

    def products(self, queries: Embeddings, rows: slice | Rows) -> Scores:
        """Return the inner products of queries (Q, W) with n of the vectors, (Q, n)."""


def exact_search(
    queries: Embeddings,
    parts: Iterable[tuple[int, Embeddings | StoredVectors, NDArray[np.bool_]]],
    k: int,
    added: Callable[[int, int], Scores] | None = None,
) -> tuple[Scores, Rows]:
    """Find the `k` best rows for each query, best first; fewer if fewer are allowed.

    Equal scores come in order of rows; which of them are left out if not all fit among the `k` is arbitrary.

    Args:
        queries: (Q, W).
        parts: (number of the first row, vectors (R, W), mask of the allowed ones (R,)).
        k: hits per query.
        added: returns what is added to the scores of the rows from one number to another, (Q, n).

    Returns:
        Scores (Q, K) and row numbers (Q, K), K the smaller of `k` and the number of allowed rows.
    """
    best = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    for first, vectors, allowed in parts:
        block = min(max(_BLOCK_ROWS, _BLOCK_HITS * k), max(1, _BLOCK_SCORES // max(1, len(queries))))
        for start in range(0, len(vectors), block):
            stop = min(start + block, len(vectors))
            bonus = None if added is None else added(first + start, first + stop)
            rows = start + np.flatnonzero(allowed[start:stop])
            scores = _scores(queries, vectors, rows, start, stop, bonus)
            rows = first + rows
            if best[0].shape[1] == k:
                # Most rows cannot be among the best any more; checking that is much cheaper than sorting them.
                hopeful = (scores > best[0][:, -1:]).any(axis=0)
                scores, rows = scores[:, hopeful], rows[hopeful]
            best = best_of(*best, *top_rows(scores, rows, k), k)
    return best


def _scores(
    queries: Embeddings,
    vectors: Embeddings | StoredVectors,
    rows: Rows,
    start: int,
    stop: int,
    bonus: Scores | None,
) -> Scores:
    """Return the scores (Q, n) of n rows between `start` and `stop`, with the bonus (Q, stop - start) of all if any."""
    if len(rows) == 0:
        return np.empty((len(queries), 0), dtype=np.float32)
    all_allowed = len(rows) == stop - start
    if len(rows) < (stop - start) * _COPIED_SHARE:
        scores = _products(queries, vectors, rows)
    else:
        scores = _products(queries, vectors, slice(start, stop))
        scores = scores if all_allowed else scores[:, rows - start]
    if bonus is not None:
        scores = scores + (bonus if all_allowed else bonus[:, rows - start])
    return scores


def _products(queries: Embeddings, vectors: Embeddings | StoredVectors, rows: slice | Rows) -> Scores:
    if not isinstance(vectors, np.ndarray):
        return vectors.products(queries, rows)
    if isinstance(rows, slice):
        return inner_products(queries, vectors[rows])
    scores = np.empty((len(queries), len(rows)), dtype=np.float32)
    for start in range(0, len(rows), _COPIED_ROWS):
        few = slice(start, start + _COPIED_ROWS)
        scores[:, few] = inner_products(queries, np.take(vectors, rows[few], axis=0))
    return scores


def inner_products(queries: Embeddings, vectors: Embeddings) -> Scores:
    """Return the inner products of queries (Q, W) with vectors (n, W), (Q, n)."""
    # A single query as a vector: BLAS reads the matrix once, in its own order.
    products: Scores = (vectors @ queries[0])[None] if len(queries) == 1 else queries @ vectors.T
    return products


def top_rows(scores: Scores, rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Return the k best columns for each query, unordered: scores and row numbers, each (Q, k)."""
    if scores.shape[1] <= k:
        return scores, np.broadcast_to(rows, scores.shape)
    kept = np.argpartition(scores, -k, axis=1)[:, -k:]
    return np.take_along_axis(scores, kept, axis=1), rows[kept]


def best_of(scores: Scores, rows: Rows, more_scores: Scores, more_rows: Rows, k: int) -> tuple[Scores, Rows]:
    """Return the `k` best of two lists of hits per query, best first, ties by row."""
    scores = np.concatenate([scores, more_scores], axis=1)
    rows = np.concatenate([rows, more_rows], axis=1)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
