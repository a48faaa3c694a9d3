"""Search of one generation by vectors: exact, or exact scores for an accelerator's candidates.

Axes: Q queries, K hits, R rows, W width, C candidates.
"""

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.filters import Filter
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.document import Hit
from cde_retrievers.retrieval.exact_search import Rows, Scores, best_of, exact_search
from cde_retrievers.validation.vectors import Embeddings


def search(snapshot: Snapshot, queries: Embeddings, k: int, query_filter: Filter | None) -> list[list[Hit]]:
    """Find the `k` best documents for each query (Q, W), best first.

    Raises:
        FilterError: the filter is impossible, or names a field that no document has.
    """
    scores, rows = best_rows(snapshot, queries, k, query_filter)
    return [
        [_hit(snapshot, int(row), float(score)) for score, row in zip(*found, strict=True)]
        for found in zip(scores, rows, strict=True)
    ]


def best_rows(
    snapshot: Snapshot, queries: Embeddings, k: int, query_filter: Filter | None = None
) -> tuple[Scores, Rows]:
    """Find the `k` best rows for each query (Q, W) -> scores and row numbers, each (Q, K); with a filter always exact.

    Raises:
        FilterError: as `search`.
    """
    if len(snapshot) == 0:
        return np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    k = min(k, len(snapshot))
    allowed = snapshot.searchable_rows(query_filter)
    if query_filter is not None or snapshot.accelerator is None:
        return _exact(snapshot, queries, k, allowed, first=0)
    near = _rescored(snapshot, snapshot.accelerator, queries, k, allowed)
    return best_of(*near, *_exact(snapshot, queries, k, allowed, first=snapshot.accelerator.rows), k)


def _exact(
    snapshot: Snapshot, queries: Embeddings, k: int, allowed: NDArray[np.bool_], first: int
) -> tuple[Scores, Rows]:
    """Search the segments from row `first` on, where a segment begins; `allowed` is a mask (R,)."""
    parts = (
        (int(start), segment.vectors, allowed[start : start + segment.entry.rows])
        for start, segment in zip(snapshot.starts[:-1], snapshot.segments, strict=True)
        if start >= first and segment.is_searchable
    )
    return exact_search(queries, parts, k)


def _rescored(
    snapshot: Snapshot, accelerator: Accelerator, queries: Embeddings, k: int, allowed: NDArray[np.bool_]
) -> tuple[Scores, Rows]:
    """Score the accelerator's candidates (Q, C) exactly."""
    covered = allowed & (np.arange(len(allowed)) < accelerator.rows)
    count = min(k, int(covered.sum()))
    rows = accelerator.candidates(queries, k, allowed)
    if count and (rows >= 0).sum(axis=1).min() < count:
        # Where much was deleted, it can miss rows that are there.
        return _exact(snapshot, queries, k, covered, first=0)
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    for number, (query, candidates) in enumerate(zip(queries, rows, strict=True)):
        found = candidates >= 0
        scores[number, found] = snapshot.vectors(candidates[found]) @ query
    return best_of(scores[:, :0], rows[:, :0], scores, rows, count)


def _hit(snapshot: Snapshot, row: int, score: float) -> Hit:
    document = snapshot.document(row)
    return Hit(str(document.id), document.text, document.metadata, score)
