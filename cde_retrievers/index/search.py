"""Search of one generation by vectors, by words, or by both: exact, or exact scores for an accelerator's candidates.

Axes: Q queries, K hits, R rows, W width, C candidates.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.accelerator import Accelerator
from cde_retrievers.index.filters import Filter, Missing
from cde_retrievers.index.lexical import LexicalScores
from cde_retrievers.index.queries import EncodedQueries
from cde_retrievers.index.snapshot import Snapshot
from cde_retrievers.retrieval.document import Document, Hit
from cde_retrievers.retrieval.exact_search import Rows, Scores, best_of, exact_search
from cde_retrievers.validation.vectors import Embeddings

Mask = NDArray[np.bool_]
_COPIED_NUMBERS = 1 << 23  # numbers of the candidates' vectors in memory at a time: 32 MB


def search(
    snapshot: Snapshot, queries: EncodedQueries, k: int, query_filter: Filter | None, missing: Missing = "error"
) -> list[list[Hit]]:
    """Find the `k` best documents for each query, best first; by words alone, only those that share one with it.

    Raises:
        FilterError: the filter is impossible, or names a field that no document has, if such a one is an error.
    """
    if len(snapshot) == 0 or len(queries) == 0:
        return [[] for _ in range(len(queries))]
    allowed = snapshot.searchable_rows(query_filter, missing)
    accelerator = snapshot.accelerator
    k = min(k, len(snapshot))
    if accelerator is not None and not accelerator.is_worthwhile(k, allowed):
        accelerator = None
    return [hits for block in queries.blocks(len(allowed)) for hits in _hits(snapshot, block, k, allowed, accelerator)]


def _hits(
    snapshot: Snapshot, queries: EncodedQueries, k: int, allowed: Mask, accelerator: Accelerator | None
) -> Iterator[list[Hit]]:
    """Yield the hits of each of a few queries."""
    lexical = None if queries.sparse is None else LexicalScores.of(snapshot, queries.sparse, allowed)
    if queries.dense is None:
        assert lexical is not None, "queries have at least one view"
        best = lexical.best(k)
    else:
        best = list(zip(*_best_rows(snapshot, queries.dense, k, allowed, accelerator, lexical), strict=True))
    for number, (scores, rows) in enumerate(best):
        vector = None if queries.dense is None else queries.dense[number]
        words = None if lexical is None else lexical.scores[number]
        yield _described(snapshot, rows, scores, vector, words)


def _described(
    snapshot: Snapshot, rows: Rows, scores: Scores, query: Embeddings | None, words: Scores | None
) -> list[Hit]:
    """Describe rows (K,) that were found by a vector (W,), by the lexical scores of all rows (R,), or both."""
    if words is None:
        dense, lexical = scores.tolist(), [None] * len(rows)
    else:
        dense = [None] * len(rows) if query is None else (snapshot.vectors(rows) @ query).tolist()
        lexical = words[rows].tolist()
    found = zip(rows.tolist(), scores.tolist(), dense, lexical, strict=True)
    return [_hit(snapshot.document(row), *parts) for row, *parts in found]


def _hit(document: Document, score: float, dense: float | None, lexical: float | None) -> Hit:
    return Hit(str(document.id), document.text, document.metadata, score, dense, lexical)


def _best_rows(
    snapshot: Snapshot,
    queries: Embeddings,
    k: int,
    allowed: Mask,
    accelerator: Accelerator | None,
    lexical: LexicalScores | None,
) -> tuple[Scores, Rows]:
    """Find the `k` best rows for each query (Q, W) -> scores and row numbers, each (Q, K)."""
    if accelerator is None:
        return _exact(snapshot, queries, k, allowed, lexical, first=0)
    near = _rescored(snapshot, accelerator, queries, k, allowed, lexical)
    return best_of(*near, *_exact(snapshot, queries, k, allowed, lexical, first=accelerator.rows), k)


def _exact(
    snapshot: Snapshot, queries: Embeddings, k: int, allowed: Mask, lexical: LexicalScores | None, first: int
) -> tuple[Scores, Rows]:
    """Search the segments from row `first` on, where a segment begins."""
    parts = (
        (int(start), segment.vectors, allowed[start : start + segment.entry.rows])
        for start, segment in zip(snapshot.starts[:-1], snapshot.segments, strict=True)
        if start >= first and segment.is_searchable
    )
    return exact_search(queries, parts, k, None if lexical is None else lexical.bonus)


def _rescored(
    snapshot: Snapshot,
    accelerator: Accelerator,
    queries: Embeddings,
    k: int,
    allowed: Mask,
    lexical: LexicalScores | None,
) -> tuple[Scores, Rows]:
    """Score the accelerator's candidates, and the best by words, exactly."""
    count = min(k, np.count_nonzero(allowed[: accelerator.rows]))
    near = accelerator.candidates(queries, k, allowed)
    if np.count_nonzero(near >= 0, axis=1).min() < count:
        # Where much was deleted, it can miss rows that are there.
        covered = allowed & (np.arange(len(allowed)) < accelerator.rows)
        return _exact(snapshot, queries, k, covered, lexical, first=0)
    if lexical is not None:
        near = lexical.joined(near, accelerator.rows)
    scores = _products(snapshot, queries, near)
    if lexical is not None:
        scores += lexical.bonus_of_candidates(near)
    best = np.lexsort((near, -scores), axis=1)[:, :count]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(near, best, axis=1)


def _products(snapshot: Snapshot, queries: Embeddings, rows: Rows) -> Scores:
    """Return the products of each query (Q, W) with the vectors of its own rows (Q, C) -> (Q, C).

    A row of -1 stands for none, and scores -inf; each query has at least one row, and it comes first.
    """
    there, rows = rows >= 0, np.where(rows >= 0, rows, rows[:, :1])
    scores = np.empty(rows.shape, dtype=np.float32)
    step = max(1, _COPIED_NUMBERS // (rows.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        few, block = rows[start : start + step], queries[start : start + step]
        vectors = snapshot.vectors(few.ravel()).reshape(*few.shape, -1)
        scores[start : start + step] = (vectors @ block[:, :, None])[:, :, 0]
    return np.where(there, scores, np.float32(-np.inf))
