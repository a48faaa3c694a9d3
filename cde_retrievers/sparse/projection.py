"""The sparse view of a text as a vector of fixed width, for stores that know cosine alone.

Terms are hashed by a sparse sign projection: each adds to a few slots of the vector, with a sign of its own for each.
So inner products are kept but for noise that falls with the width. Sources: Weinberger et al., "Feature Hashing for
Large Scale Multitask Learning"; Achlioptas, "Database-friendly random projections". Axes: n texts, T terms, W width.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cde_retrievers.sparse.bm25 import document_rows
from cde_retrievers.sparse.term_statistics import Terms, TermStatistics
from cde_retrievers.validation.vectors import Vectors, unit_rows

WEIGHT = 0.15
"""Weight of the lexical cosine where that of the dense vectors has 1; chosen on training sets, as all here."""
SLOTS = 4
"""Numbers of a vector that a term is added to."""
LENGTH_NORMALISATION = 0.0
"""BM25's b: none, since the vector is scaled to unit length."""
_ROWS = 8_192  # texts projected at a time
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB], dtype=np.uint64)


def lexical_vectors(texts: Iterable[str], statistics: TermStatistics, width: int) -> Vectors:
    """Return lexical vectors (n, W) float32 of documents or queries: unit rows, or zeros for a text without terms.

    A term weighs its saturated frequency, as in a document's BM25, times the root of its idf.
    """
    rows = document_rows(texts, statistics, LENGTH_NORMALISATION)
    # Only the terms that occur: their numbers would make a projection of sixteen million rows.
    terms, places = np.unique(rows.indices, return_inverse=True)
    weights = rows.data * np.sqrt(statistics.idf(terms))[places]
    occurring = csr_matrix((weights, places, rows.indptr), shape=(rows.shape[0], len(terms)))
    projection = _sign_projection(terms, width)
    vectors = np.empty((rows.shape[0], width), dtype=np.float32)
    for start in range(0, len(vectors), _ROWS):
        vectors[start : start + _ROWS] = (occurring[start : start + _ROWS] @ projection).toarray()
    return unit_rows(vectors)


def with_lexical_part(dense: Vectors, lexical: Vectors) -> Vectors:
    """Append lexical vectors (n, W') to dense unit vectors (n, W) -> unit rows (n, W + W').

    Their cosine is (dense cosine + WEIGHT lexical cosine) / (1 + WEIGHT), for texts that have terms.
    """
    return unit_rows(np.hstack([dense, np.float32(WEIGHT**0.5) * lexical]))


def _sign_projection(terms: Terms, width: int) -> csr_matrix:
    """Return the projection (T, W): SLOTS signs in each row, which may share a slot."""
    hashes = _hashes(terms)
    slots = (hashes >> np.uint64(1)) % np.uint64(width)
    signs = 1.0 - 2.0 * (hashes & np.uint64(1))
    bounds = np.arange(0, SLOTS * len(terms) + 1, SLOTS)
    return csr_matrix((signs.ravel(), slots.ravel().astype(np.int64), bounds), shape=(len(terms), width))


def _hashes(terms: Terms) -> NDArray[np.uint64]:
    """Return the numbers (T, SLOTS) of terms: SplitMix64's, the same on every machine.

    Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators".
    """
    first, second, third = _MULTIPLIERS
    mixed: NDArray[np.uint64] = terms.astype(np.uint64)[:, None] * np.uint64(SLOTS)
    mixed = (mixed + np.arange(1, SLOTS + 1, dtype=np.uint64)) * first  # products wrap, as they should
    mixed = (mixed ^ (mixed >> np.uint64(30))) * second
    mixed = (mixed ^ (mixed >> np.uint64(27))) * third
    return mixed ^ (mixed >> np.uint64(31))
