"""Fusion of dense and lexical scores: the formula of hybrid search, and its constants. See `docs/hybrid.md`.

A document scores s + w l: s its cosine, l its BM25, and w the same for all documents of a query,

    w = a (M - m) / M^2,    M the best l of the query, m the tenth best.

So l counts as a share of the best, l / M, and the more the best stands out from the tenth, the more it counts: where
many documents hold the same words, words decide little. Axes: Q queries, R rows.
"""

import numpy as np
from numpy.typing import NDArray

LEXICAL_WEIGHT = 0.6
"""The a above."""
_RUNNER_UP = 10
Scores = NDArray[np.float32]


def lexical_weights(lexical: Scores) -> Scores:
    """Return what a point of BM25 counts for each query (Q,), given the scores of all documents (Q, R)."""
    best = _best(lexical, _RUNNER_UP)
    first, tenth = best[:, 0], best[:, -1] if best.shape[1] == _RUNNER_UP else np.zeros(len(best), dtype=np.float32)
    scale = np.where(first > 0, first, 1)
    weights: Scores = (LEXICAL_WEIGHT * (first - tenth) / scale**2).astype(np.float32)
    return weights


def fused(dense: Scores, lexical: Scores) -> Scores:
    """Return the scores of hybrid search (Q, R): cosines (Q, R) plus weighted BM25 (Q, R), of all documents."""
    return dense + lexical_weights(lexical)[:, None] * lexical


def _best(scores: Scores, count: int) -> Scores:
    """Return the best scores of each row (Q, count), best first; fewer if there are fewer."""
    count = min(count, scores.shape[1])
    return np.flip(np.sort(np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:], axis=1), axis=1)
