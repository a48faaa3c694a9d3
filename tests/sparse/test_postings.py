"""Postings are sparse rows by term: their scores are products of the rows, in one part or joined from several."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array, vstack

from cde_retrievers.sparse.analyzer import TERM_LIMIT
from cde_retrievers.sparse.postings import Postings


def rows(count, seed=0):
    """Sparse rows of a few terms, all of which are below 50."""
    drawn = random_array((count, 50), density=0.2, rng=np.random.default_rng(seed), dtype=np.float32).tocsr()
    return csr_matrix((drawn.data, drawn.indices, drawn.indptr), shape=(count, TERM_LIMIT))


def scores(postings, query, count):
    found = np.zeros(count, dtype=np.float32)
    postings.add_scores(query.indices, query.data, found)
    return found


def product(matrix, query):
    """The slow obvious twin."""
    return (matrix @ query.T).toarray()[:, 0]


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_products_of_the_rows(seed):
    matrix, query = rows(30, seed), rows(1, seed + 100)
    np.testing.assert_allclose(scores(Postings.of(matrix), query, 30), product(matrix, query), atol=1e-6)


def test_joined_parts_are_the_postings_of_the_rows_that_are_kept():
    parts = [rows(20, 1), rows(1, 2), rows(15, 3)]
    kept = [np.array([0, 3, 19]), np.array([], dtype=np.int64), np.arange(15)]
    joined = Postings.joined((Postings.of(part), keep) for part, keep in zip(parts, kept, strict=True))
    expected = Postings.of(csr_matrix(vstack([part[keep] for part, keep in zip(parts, kept, strict=True)])))
    for name in ("terms", "bounds", "rows", "weights"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(expected, name))
    assert joined.contradiction(18) is None


def test_documents_without_a_word_have_no_postings():
    empty = Postings.of(csr_matrix((4, TERM_LIMIT), dtype=np.float32))
    assert (len(empty.terms), empty.contradiction(4)) == (0, None)
    assert not scores(empty, rows(1), 4).any()
    assert len(Postings.joined([(empty, np.arange(4)), (empty, np.arange(2))]).rows) == 0


def test_rows_beyond_those_there_are_contradict():
    assert "outside" in Postings.of(rows(30)).contradiction(29)
