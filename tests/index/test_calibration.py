"""The least effort that reaches a recall, held against trying every effort in turn."""

import numpy as np
import pytest

from cde_retrievers.index.calibration import K, _Sample, least_effort

ROWS, WIDTH = 700, 24


@pytest.fixture
def vectors():
    rows = np.random.default_rng(2).standard_normal((ROWS, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blurred(vectors):
    """A search of the best rows by fewer numbers of each vector: as many candidates as the effort."""

    def search(queries, effort):
        order = np.argsort(-(queries[:, :9] @ vectors[:, :9].T), axis=1)[:, :effort]
        return np.pad(order, ((0, 0), (0, 3)), constant_values=-1)

    return search


def recall_of(search, vectors, effort):
    """The slow obvious twin."""
    queries = _Sample([vectors]).queries
    shares = [
        len({*candidates.tolist()} & {*np.argsort(-(vectors @ query))[:K].tolist()}) / K
        for query, candidates in zip(queries, search(queries, effort), strict=True)
    ]
    return np.mean(shares)


@pytest.mark.parametrize("recall", [0.1, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("cuts", [[], [1, 300]])
def test_it_is_the_first_effort_that_suffices(vectors, recall, cuts):
    search = blurred(vectors)
    found = least_effort(search, np.split(vectors, cuts), recall, 2, ROWS)
    assert recall_of(search, vectors, found) >= recall
    assert found == 2 or recall_of(search, vectors, found - 1) < recall


def test_queries_are_between_vectors_and_the_same_however_the_rows_are_split(vectors):
    queries = _Sample([vectors]).queries
    np.testing.assert_array_equal(_Sample(np.split(vectors, [1, 300])).queries, queries)
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-6)
    nearest = (queries @ vectors.T).max(axis=1)
    assert 0.3 < nearest.mean() < nearest.max() < 0.95, "near to some, and none of them"


def test_it_stays_between_its_bounds(vectors):
    search = blurred(vectors)
    assert least_effort(search, [vectors], 0.0, 5, ROWS) == 5
    assert least_effort(search, [vectors], 1.0, 5, 77) == 77
    assert least_effort(blurred(vectors[:1]), [vectors[:1]], 1.0, 5, 77) == 5


def test_no_effort_is_spent_where_more_finds_no_more(vectors):
    search, efforts = blurred(vectors), []

    def no_more_than_forty(queries, effort):
        efforts.append(effort)
        return search(queries, min(effort, 40))

    found = least_effort(no_more_than_forty, [vectors], 1.0, 5, ROWS)
    assert 40 <= found < 80
    assert max(efforts) < 200, "nor while it is measured"


def test_rows_that_are_equally_near_are_equally_right(vectors):
    same = np.repeat(vectors[:1], ROWS, axis=0)

    def any_eleven(queries, effort):
        return np.random.default_rng(effort).permuted(np.tile(np.arange(ROWS), (len(queries), 1)), axis=1)[:, : K + 1]

    assert least_effort(any_eleven, [same], 1.0, 3, 99) == 3
