"""Which pairs make up which batch, epoch after epoch."""

import logging

import numpy as np
import pytest
from topics import topic_pairs, topic_vectors

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches import sampler as sampler_module
from cde_retrievers.training.batches.clustering import cluster_pairs
from cde_retrievers.training.batches.sampler import contextual_batches, random_batches
from cde_retrievers.training.data.pairs import TrainingPairs

PAIRS = topic_pairs({"a": 61, "b": 30, "c": 5})
VECTORS = topic_vectors(PAIRS)


def samplers(pairs=PAIRS, vectors=VECTORS, batch_size=8, **settings):
    return {
        "random": random_batches(pairs, batch_size, **settings),
        "contextual": contextual_batches(pairs, vectors, batch_size, **settings),
    }


@pytest.fixture(params=["random", "contextual"])
def kind(request):
    return request.param


def test_an_epoch_is_full_batches_without_any_pair_twice(kind):
    sampler = samplers(batch_size=7)[kind]
    assert (sampler.batch_size, sampler.batches_per_epoch) == (7, 96 // 7)
    for epoch in range(5):
        batches = sampler.batches(epoch)
        assert batches.dtype == np.int64
        assert batches.shape == (13, 7)
        assert len(set(batches.ravel())) == 91
        assert 0 <= batches.min() <= batches.max() < 96


def test_every_epoch_has_its_own_order_and_leaves_out_other_pairs(kind):
    sampler = samplers(batch_size=7)[kind]
    epochs = [sampler.batches(epoch) for epoch in range(6)]
    left_out = [frozenset(range(96)) - set(batches.ravel().tolist()) for batches in epochs]
    assert all(len(rows) == 5 for rows in left_out)
    assert len(set(left_out)) == 6
    assert len({batches.tobytes() for batches in epochs}) == 6
    # Nothing is left out for good.
    assert len(set().union(*(sampler.batches(epoch).ravel().tolist() for epoch in range(40)))) == 96


def test_the_same_arguments_give_the_same_batches_and_another_seed_others(kind):
    first, again, other = (samplers(seed=seed)[kind] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.batches(2), again.batches(2))
    assert (first.batches(2) != other.batches(2)).any()
    # Were the two added up, this would be the same epoch.
    assert (first.batches(3) != other.batches(2)).any()


def test_an_epoch_does_not_depend_on_those_asked_for_before(kind):
    sampler = samplers()[kind]
    late = sampler.batches(3)
    sampler.batches(0)
    np.testing.assert_array_equal(late, sampler.batches(3))


def test_pairs_of_two_clusters_are_shuffled_within_their_batch():
    pairs = topic_pairs({"a": 16})
    vectors = topic_vectors(pairs, topics=2, noise=0.05)
    clusters, sampler = cluster_pairs(pairs, vectors, 8), contextual_batches(pairs, vectors, 16, 8)
    changes = [np.count_nonzero(np.diff(clusters[sampler.batches(epoch)[0]])) for epoch in range(5)]
    assert max(changes) > 1


def test_batches_are_shuffled_so_that_leftovers_do_not_come_last():
    pairs = topic_pairs({"a": 61})
    vectors = topic_vectors(pairs)
    clusters, sampler = cluster_pairs(pairs, vectors, 12), contextual_batches(pairs, vectors, 4, 12)
    pure = [[len(set(clusters[batch])) == 1 for batch in sampler.batches(epoch)] for epoch in range(4)]
    assert all(0 < sum(row) < len(row) for row in pure)
    assert any(row != sorted(row, reverse=True) for row in pure)


def test_batches_are_as_pure_as_clusters_and_domains_allow():
    clusters = cluster_pairs(PAIRS, VECTORS, 16)
    sampler = contextual_batches(PAIRS, VECTORS, 8, 16)
    for epoch in range(3):
        batches = sampler.batches(epoch)
        for group_of in (clusters, PAIRS.domain_of):
            pure = sum(len(set(group_of[batch])) == 1 for batch in batches)
            assert pure == sum(np.bincount(group_of) // 8)


def mean_negative(batches):
    scores = []
    for batch in batches:
        matrix = VECTORS.queries[PAIRS.query_of[batch]] @ VECTORS.documents[PAIRS.positive_of[batch]].T
        scores.append(matrix[~np.eye(len(batch), dtype=bool)].mean())
    return np.mean(scores)


def test_contextual_batches_are_harder_than_random_ones():
    found = {kind: mean_negative(sampler.batches(0)) for kind, sampler in samplers().items()}
    assert found["contextual"] > found["random"] + 0.3


def test_clusters_are_as_large_as_batches_unless_said_otherwise(monkeypatch):
    sizes = []

    def spy(pairs, vectors, cluster_size, *rest):
        sizes.append(cluster_size)
        return cluster_pairs(pairs, vectors, cluster_size, *rest)

    monkeypatch.setattr(sampler_module, "cluster_pairs", spy)
    contextual_batches(PAIRS, VECTORS, 8)
    contextual_batches(PAIRS, VECTORS, 8, 20)
    assert sizes == [8, 20]


def test_equal_pairs_count_once_and_are_reported(kind, caplog):
    pairs = topic_pairs({"a": 20})
    doubled = TrainingPairs.of([*pairs, *pairs[:6]])
    with caplog.at_level(logging.WARNING):
        sampler = samplers(doubled, topic_vectors(pairs), 5)[kind]
    assert "6 of 26 pairs repeat another pair and are left out" in caplog.text
    assert sampler.batches_per_epoch == 4
    assert set(sampler.batches(0).ravel()) == set(range(20))


def test_a_query_may_come_again_with_another_document(kind):
    pairs = topic_pairs({"a": 10})
    again = TrainingPairs.of(
        [*pairs, *(type(pair)(pair.query, f"other {pair.positive}", domain="a") for pair in pairs)]
    )
    sampler = samplers(again, topic_vectors(again), 20)[kind]
    assert sampler.batches(0).shape == (1, 20)


def test_batches_of_several_domains_are_reported(caplog):
    with caplog.at_level(logging.INFO):
        contextual_batches(PAIRS, VECTORS, 8)
    assert "2 of 12 batches mix domains" in caplog.text
    assert "1 of 3 domains have fewer pairs than a batch" in caplog.text


def test_clusters_are_kept(tmp_path):
    contextual_batches(PAIRS, VECTORS, 8, cache_folder=tmp_path)
    assert [path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_dir()] == ["clusters"]


def test_fewer_pairs_than_a_batch_are_refused(kind):
    with pytest.raises(TrainingDataError, match=r"a batch takes 97 distinct pairs, there are 96"):
        samplers(batch_size=97)[kind]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"found batch_size=0"),
        ({"batch_size": 8, "seed": -1}, r"seed=-1"),
        ({"batch_size": 8, "cluster_size": 0}, r"cluster_size=0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        contextual_batches(PAIRS, VECTORS, **settings)


def test_epochs_are_counted_from_zero(kind):
    with pytest.raises(ConfigurationError, match=r"epochs count from 0, found -1"):
        samplers()[kind].batches(-1)


def test_domains_that_fill_no_batch_are_clustered_with_others_of_their_set():
    """Twelve pages of eight pairs, in two sets: what is alike shares a batch, whatever page it is on."""
    pages = {f"{name}/page {page}": 8 for name in ("a", "b") for page in range(6)}
    pairs = topic_pairs({**pages, "c": 32})
    vectors = topic_vectors(pairs, topics=3, noise=0.05)
    batches = contextual_batches(pairs, vectors, 16).batches(0)
    sets = [{pairs.domains[row].split("/")[0] for row in pairs.domain_of[batch]} for batch in batches]
    assert sorted(sets, key=sorted) == [{"a"}] * 3 + [{"b"}] * 3 + [{"c"}] * 2
    alone = {name: 16 for name in ("d", "e")}
    whole = topic_pairs({**alone, "f": 8, "g": 8})
    of_domains = [
        set(whole.domain_of[batch]) for batch in contextual_batches(whole, topic_vectors(whole), 16).batches(0)
    ]
    assert sorted(of_domains, key=sorted) == [{0}, {1}, {2, 3}]


def test_small_domains_of_a_set_give_harder_batches_than_domains_laid_end_to_end():
    pairs = topic_pairs({f"pages/{page}": 5 for page in range(48)})
    vectors = topic_vectors(pairs)
    batches = contextual_batches(pairs, vectors, 16).batches(0)
    by_domain = np.arange(240).reshape(-1, 16)

    def hardness(rows):
        return np.mean([np.mean(vectors.queries[row] @ vectors.documents[row].T) for row in rows])

    assert hardness(batches) > hardness(by_domain) + 0.3
