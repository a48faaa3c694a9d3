"""Fusion of dense and lexical scores: the formula of hybrid search, and its constants. See `docs/hybrid.md`.

A document scores

    s + a (l / I)^p,

s its cosine, l its BM25, and I the mass of the query: the sum of its terms' idf, which no BM25 reaches. So l / I says
how much of the query's words, the rare ones above all, a document has. The power p lets words decide where a document
has most of them, and hardly count where it has a few. Axes: Q queries, R rows.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEXICAL_WEIGHT = 0.8
"""The a above: what all words of a query count at most, beside a cosine."""
LEXICAL_POWER = 1.5
"""The p above."""
Scores = NDArray[np.float32]
_BLOCK_ROWS = 1 << 16  # so that few rows are selected among, where most have a word of the query


def query_mass(queries: "csr_matrix") -> Scores:
    """Return the mass (Q,) of queries, given as sparse rows (Q, 2^24)."""
    return np.asarray(queries.sum(axis=1), dtype=np.float32).ravel()


def lexical_bonus(lexical: Scores, mass: Scores) -> Scores:
    """Return what documents gain by their words (Q, R), given their BM25 (Q, R) and the mass of the queries (Q,)."""
    bonus = np.zeros_like(lexical)
    for gained, scores, whole in zip(bonus, lexical, mass, strict=True):
        rows = np.flatnonzero(scores)  # few of many: a power costs more than an addition
        gained[rows] = LEXICAL_WEIGHT * (scores[rows] / whole) ** LEXICAL_POWER
    return bonus


def best_above_zero(scores: Scores, count: int) -> NDArray[np.int64]:
    """Return the rows of the best scores (R,) above 0, at most `count`, unordered.

    Of each block only the rows above the best so far are selected among.
    """
    best, least = np.empty(0, dtype=np.int64), np.float32(0)
    for start in range(0, len(scores), _BLOCK_ROWS):
        best = np.concatenate([best, start + np.flatnonzero(scores[start : start + _BLOCK_ROWS] > least)])
        if len(best) > count:
            best = best[np.argpartition(scores[best], -count)[-count:]]
            least = scores[best].min()
    return best
