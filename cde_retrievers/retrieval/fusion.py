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
    return np.array([_weight(scores) for scores in lexical], dtype=np.float32)


def fused(dense: Scores, lexical: Scores) -> Scores:
    """Return the scores of hybrid search (Q, R): cosines (Q, R) plus weighted BM25 (Q, R), of all documents."""
    return dense + lexical_weights(lexical)[:, None] * lexical


def _weight(scores: Scores) -> float:
    """Return the weight of one query, given the scores of all documents (R,)."""
    scores = scores[best_of_few(scores, _RUNNER_UP)]
    if len(scores) == 0:
        return 0.0
    best, tenth = float(scores.max()), float(scores.min()) if len(scores) == _RUNNER_UP else 0.0
    return LEXICAL_WEIGHT * (best - tenth) / best**2


def best_of_few(scores: Scores, count: int) -> NDArray[np.int64]:
    """Return the rows of the best scores above 0, at most `count`, unordered, where most scores (R,) are 0."""
    rows = np.flatnonzero(scores)  # selecting among many equal scores is slow
    return rows if len(rows) <= count else rows[np.argpartition(scores[rows], -count)[-count:]]
