"""BM25 as a product of sparse rows: saturated frequencies of a document, idf of a query. Axes: n texts, T terms in all.

A document's row depends on the mean length alone, a query's on the document frequencies alone. Their product is BM25 in
Lucene's variant, without the constant factor k1 + 1. Source: Robertson & Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond", section 3.4.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.sparse.analyzer import TERM_LIMIT
from cde_retrievers.sparse.term_statistics import TermStatistics

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Values = NDArray[np.float64]


def document_rows(texts: Iterable[str], statistics: TermStatistics, b: float | None = None) -> "csr_matrix":
    """Return rows (n, 2^24) float32 of f / (f + k1 (1 - b + b length / mean length)), f the occurrences of a term.

    Args:
        texts: n texts.
        statistics: term statistics of their corpus.
        b: length normalisation, from 0 to 1; that of the statistics if None.
    """
    b = statistics.b if b is None else b
    analyzer = statistics.installed_analyzer()
    terms_of = [analyzer.terms(text) for text in texts]
    lengths = np.array([len(terms) for terms in terms_of], dtype=np.float64)
    norms = statistics.k1 * (1 - b + b * lengths / (statistics.mean_length or 1.0))
    columns, frequencies, ends = _counted(terms_of)
    return _matrix(frequencies / (frequencies + np.repeat(norms, np.diff(ends))), columns, ends)


def query_rows(texts: Iterable[str], statistics: TermStatistics) -> "csr_matrix":
    """Return rows (n, 2^24) float32 of idf times the occurrences of a term in the query."""
    analyzer = statistics.installed_analyzer()
    columns, frequencies, ends = _counted([analyzer.terms(text) for text in texts])
    return _matrix(frequencies * statistics.idf(columns), columns, ends)


def _counted(rows: list[list[int]]) -> tuple[NDArray[np.int32], Values, NDArray[np.int64]]:
    """Return distinct terms (T,), ascending in each row, their occurrences (T,), and the n + 1 bounds of the rows."""
    counted = [sorted(Counter(terms).items()) for terms in rows]
    bounds = np.cumsum([0, *(len(row) for row in counted)], dtype=np.int64)
    pairs = np.array([pair for row in counted for pair in row], dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.float64), bounds


def _matrix(values: Values, columns: NDArray[np.int32], bounds: NDArray[np.int64]) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((values.astype(np.float32), columns, bounds), shape=(len(bounds) - 1, TERM_LIMIT))
    matrix.has_sorted_indices = True
    return matrix
