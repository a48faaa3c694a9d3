"""Reciprocal rank fusion, against its definition."""

import numpy as np
import pytest
from searched import ANIMALS

from cde_retrievers.evaluation import BM25, Contextual, ReciprocalRankFusion, Searcher, evaluate
from cde_retrievers.evaluation.hits import Hits
from cde_retrievers.evaluation.rank_fusion import fused_by_rank


def by_definition(first, second, depth):
    """The slow twin: score by document, for each query."""
    for query in range(len(first.rows)):
        scores = {}
        for part in (first, second):
            found = [row for row, score in zip(part.rows[query], part.scores[query], strict=True) if score > -np.inf]
            for rank, row in enumerate(found[:100], start=1):
                scores[int(row)] = scores.get(int(row), 0) + 1 / (60 + rank)
        yield sorted(scores.items(), key=lambda each: (-each[1], each[0]))[:depth]


def random_hits(rng, queries, documents, depth, shortest):
    """Some of whose last hits were not found."""
    rows = np.array([rng.permutation(documents)[:depth] for _ in range(queries)])
    scores = -np.sort(-rng.random((queries, depth)).astype(np.float32), axis=1)
    scores[np.arange(depth) >= rng.integers(shortest, depth + 1, size=(queries, 1))] = -np.inf
    return Hits(rows, scores)


@pytest.mark.parametrize(("documents", "found", "depth"), [(40, 30, 10), (40, 40, 1_000), (500, 300, 150), (5, 3, 2)])
def test_scores_are_sums_of_reciprocal_ranks(documents, found, depth):
    rng = np.random.default_rng(documents)
    first, second = (random_hits(rng, 20, documents, found, shortest=0) for _ in range(2))
    fused = fused_by_rank(first, second, depth)
    for rows, scores, expected in zip(fused.rows, fused.scores, by_definition(first, second, depth), strict=True):
        there = scores > -np.inf
        assert rows[there].tolist() == [row for row, _ in expected]
        np.testing.assert_allclose(scores[there], [score for _, score in expected], rtol=1e-6)
        # No score is invented for what neither found.
        assert there.tolist() == [place < len(expected) for place in range(depth)]


def test_hits_after_the_hundredth_do_not_count():
    rows = np.arange(300)[None]
    first = Hits(rows, -rows.astype(np.float32))
    second = Hits(rows[:, ::-1], -rows.astype(np.float32))
    fused = fused_by_rank(first, second, 1_000)
    assert set(fused.rows[fused.scores > -np.inf]) == {*range(100), *range(200, 300)}


def test_the_searcher_fuses_what_both_find(make_encoder):
    first, second = Contextual(make_encoder("whitening")), BM25()
    searcher = ReciprocalRankFusion(first, second)
    assert isinstance(searcher, Searcher)
    assert searcher.name == "RRF of tiny, own context, dense and BM25"
    parts = [each.search(ANIMALS, 100) for each in (first, second)]
    run = searcher.search(ANIMALS, 8).run(ANIMALS)
    for query, expected in zip(ANIMALS.judged.queries, by_definition(*parts, 8), strict=True):
        assert list(run[query]) == [ANIMALS.ids[row] for row, _ in expected]
    assert evaluate(searcher, ANIMALS).searcher == searcher.name
