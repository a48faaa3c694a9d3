"""Documents a query may not be trained against."""

import numpy as np
import pytest
from topics import topic_pairs, topic_vectors

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches.false_negatives import false_negatives
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Pair, TrainingPairs

DOCUMENTS = [f"document {i}" for i in range(40)]


def crowded_pairs(seed=0):
    """Pairs in which queries and documents come again and again, two hard negatives each."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(60):
        positive, *negatives = rng.choice(40, 3, replace=False)
        query = f"query {rng.integers(15)}"
        made.append(Pair(query, DOCUMENTS[positive], tuple(DOCUMENTS[i] for i in negatives)))
    return TrainingPairs.of(made)


def step_of(pairs, batch):
    """Candidates and own columns of one process: the positives, then the hard negatives of one query after another."""
    negatives = [row for pair in batch for row in pairs.negatives_of[pair]]
    size, each = len(batch), len(negatives) // len(batch)
    own = [[i, *range(size + i * each, size + (i + 1) * each)] for i in range(size)]
    return np.concatenate([pairs.positive_of[batch], np.array(negatives, dtype=np.int64)]), np.array(own)


def slow(pairs, batch, candidates, own, vectors, threshold):
    """The rules, one entry at a time."""
    mask = np.zeros((len(batch), len(candidates)), dtype=bool)
    for i, pair in enumerate(batch):
        query = pairs[pair].query
        answers = {other.positive for other in pairs if other.query == query}
        row = vectors.queries[pairs.queries.index(query)].astype(np.float64)
        positive = float(row @ vectors.documents[candidates[own[i][0]]])
        for j, document in enumerate(candidates):
            score = float(row @ vectors.documents[document])
            known = pairs.documents[document] in answers
            alike = threshold is not None and score >= (positive - 1e-6 if threshold == 1.0 else threshold)
            mask[i, j] = (known or alike) and j not in own[i]
    return mask


@pytest.mark.parametrize("threshold", [1.0, 0.6, 0.1, None])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_mask_equals_the_rules_entry_by_entry(threshold, seed):
    pairs = crowded_pairs(seed)
    vectors = topic_vectors(pairs, seed=seed)
    batch = np.random.default_rng(seed).permutation(len(pairs))[:24]
    candidates, own = step_of(pairs, batch)
    found = false_negatives(pairs, batch, candidates, own, vectors, threshold)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, slow(pairs, batch, candidates, own, vectors, threshold))
    assert 0 < found.mean() < 1


def test_a_query_keeps_its_positive_and_its_own_hard_negatives_whatever_they_score():
    pairs = crowded_pairs()
    batch = np.arange(20)
    candidates, own = step_of(pairs, batch)
    same = np.ones((1, 1), dtype=np.float32)
    vectors = PairVectors(
        np.broadcast_to(same, (len(pairs.queries), 1)), np.broadcast_to(same, (len(pairs.documents), 1))
    )
    found = false_negatives(pairs, batch, candidates, own, vectors)
    assert (~found).sum() == own.size
    assert not np.take_along_axis(found, own, axis=1).any()


def test_columns_of_other_processes_count_like_ones_own():
    """Queries of the second of two processes: their own columns lie in the middle."""
    pairs = crowded_pairs()
    vectors = topic_vectors(pairs)
    shares = [np.arange(10), np.arange(10, 20)]
    (first, _), (second, own) = (step_of(pairs, share) for share in shares)
    candidates = np.concatenate([first, second])
    found = false_negatives(pairs, shares[1], candidates, own + len(first), vectors)
    np.testing.assert_array_equal(found, slow(pairs, shares[1], candidates, own + len(first), vectors, 1.0))


@pytest.mark.parametrize("threshold", [1.0, None])
def test_the_positives_own_text_in_another_column_is_left_out(threshold):
    pairs = TrainingPairs.of([Pair("a", "same"), Pair("b", "same"), Pair("c", "other")])
    vectors = PairVectors(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[:2])
    batch = np.arange(3)
    found = false_negatives(pairs, batch, pairs.positive_of, np.arange(3)[:, None], vectors, threshold)
    assert found[0, 1]
    assert found[1, 0]
    assert not found.diagonal().any()


def test_another_answer_to_the_query_is_left_out_even_from_a_pair_outside_the_batch():
    pairs = TrainingPairs.of([Pair("a", "one"), Pair("a", "two"), Pair("b", "three", ("two",))])
    candidates = np.array([0, 2, 1])  # the positives of pairs 0 and 2, and a hard negative of the second
    found = false_negatives(pairs, np.array([0, 2]), candidates, np.array([[0], [1]]), None)
    np.testing.assert_array_equal(found, [[False, False, True], [False, False, False]])


def test_the_paper_s_rule_is_at_least_as_similar_as_the_positive():
    pairs = TrainingPairs.of([Pair("q", "worse"), Pair("x", "better"), Pair("y", "equal"), Pair("z", "worst")])
    angles = np.array([0.5, 0.4, -0.5, 0.6])
    documents = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    vectors = PairVectors(np.tile(np.float32([1, 0]), (4, 1)), documents)
    found = false_negatives(pairs, np.array([0]), np.arange(4), np.array([[0]]), vectors)
    np.testing.assert_array_equal(found, [[False, True, True, False]])


def test_without_a_surrogate_only_known_answers_are_left_out():
    pairs = crowded_pairs()
    batch = np.arange(20)
    candidates, own = step_of(pairs, batch)
    known = false_negatives(pairs, batch, candidates, own, topic_vectors(pairs), None)
    np.testing.assert_array_equal(false_negatives(pairs, batch, candidates, own, None), known)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    pairs = topic_pairs({"a": 3})
    with pytest.raises(ConfigurationError, match=r"must be above 0 and at most 1, found"):
        false_negatives(pairs, np.arange(3), np.arange(3), np.arange(3)[:, None], topic_vectors(pairs), threshold)


def test_vectors_of_other_pairs_are_refused():
    pairs = topic_pairs({"a": 3})
    with pytest.raises(TrainingDataError, match=r"must have a row for each text"):
        false_negatives(pairs, np.arange(3), np.arange(3), np.arange(3)[:, None], topic_vectors(topic_pairs({"a": 4})))
