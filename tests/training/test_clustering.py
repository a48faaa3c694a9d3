"""Groups of pairs that are hard to tell apart."""

import math
from threading import get_ident

import numpy as np
import pytest
from topics import topic_pairs, topic_vectors, unit

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches import clustering
from cde_retrievers.training.batches.clustering import cluster_pairs
from cde_retrievers.training.batches.surrogate import PairVectors


def test_clusters_are_numbered_without_gaps_and_never_cross_domains():
    pairs = topic_pairs({"a": 50, "b": 33, "c": 3})
    clusters = cluster_pairs(pairs, topic_vectors(pairs), 8)
    assert clusters.shape == (86,)
    assert sorted(set(clusters)) == list(range(clusters.max() + 1))
    for cluster in set(clusters):
        assert len(set(pairs.domain_of[clusters == cluster])) == 1
    for domain, size in enumerate((50, 33, 3)):
        assert 1 <= len(set(clusters[pairs.domain_of == domain])) <= math.ceil(size / 8)


def test_a_domain_of_fewer_pairs_than_a_cluster_is_one_cluster():
    pairs = topic_pairs({"a": 7, "b": 8})
    np.testing.assert_array_equal(cluster_pairs(pairs, topic_vectors(pairs), 8), [0] * 7 + [1] * 8)


def test_well_separated_topics_become_clusters():
    pairs = topic_pairs({"a": 60})
    centres = np.eye(3, 12)[np.arange(60) % 3]
    rng = np.random.default_rng(0)
    rows = [unit(centres + 0.05 * rng.standard_normal((60, 12))) for _ in range(2)]
    clusters = cluster_pairs(pairs, PairVectors(*rows), 20)
    assert len(set(clusters)) == 3
    assert len({(cluster, topic) for cluster, topic in zip(clusters, np.arange(60) % 3, strict=True)}) == 3


def test_both_sides_of_a_pair_count():
    """Queries alone make two groups, documents alone two others: together they make four."""
    pairs = topic_pairs({"a": 80})
    side = np.eye(4, 12)
    rng = np.random.default_rng(0)
    place = np.arange(80)
    queries = unit(side[place % 2] + 0.02 * rng.standard_normal((80, 12)))
    documents = unit(side[2 + place // 2 % 2] + 0.02 * rng.standard_normal((80, 12)))
    clusters = cluster_pairs(pairs, PairVectors(queries, documents), 20)
    groups = {(cluster, row % 2, row // 2 % 2) for row, cluster in enumerate(clusters)}
    # In either order: eight groups of points for four centroids, so none holds pairs that agree on neither side.
    for cluster in set(clusters):
        sides = [group[1:] for group in groups if group[0] == cluster]
        assert not {(0, 0), (1, 1)} <= set(sides)
        assert not {(0, 1), (1, 0)} <= set(sides)


def test_points_are_both_orders_as_unit_rows():
    q, d = (unit(np.random.default_rng(seed).standard_normal((3, 4))) for seed in (0, 1))
    slow = [[*query, *document] for query, document in zip(q, d, strict=True)]
    slow += [[*document, *query] for query, document in zip(q, d, strict=True)]
    slow = [np.asarray(row) / np.linalg.norm(row) for row in slow]
    np.testing.assert_allclose(clustering._both_orders(q, d), slow, atol=1e-6)


def test_every_point_is_used_however_few_clusters_there_are(monkeypatch):
    """With a cap of 2k points per centroid two clusters would be made of eight points."""
    known = {}

    class Spy(clustering.faiss.Kmeans):
        def __init__(self, width, k, **settings):
            known.update(settings, k=k)
            super().__init__(width, k, **settings)

        def train(self, points):
            known["points"] = len(points)
            return super().train(points)

    monkeypatch.setattr(clustering.faiss, "Kmeans", Spy)
    pairs = topic_pairs({"a": 700})
    cluster_pairs(pairs, topic_vectors(pairs), 350)
    assert known["points"] == 1400
    assert known["max_points_per_centroid"] * known["k"] >= 1400
    assert known["max_points_per_centroid"] >= 256
    assert known["spherical"]


def test_clusters_are_tighter_than_chance():
    pairs = topic_pairs({"a": 120})
    vectors = topic_vectors(pairs)
    clusters = cluster_pairs(pairs, vectors, 20)
    scores = vectors.queries[pairs.query_of] @ vectors.documents[pairs.positive_of].T
    together = clusters[:, None] == clusters[None]
    np.fill_diagonal(together, False)
    assert scores[together].mean() > scores[~together].mean() + 0.5


def test_the_same_arguments_give_the_same_clusters_and_another_seed_others():
    pairs = topic_pairs({"a": 90, "b": 60})
    vectors = topic_vectors(pairs, topics=30, noise=0.5)
    first = cluster_pairs(pairs, vectors, 10)
    np.testing.assert_array_equal(first, cluster_pairs(pairs, vectors, 10))
    assert (first != cluster_pairs(pairs, vectors, 10, seed=1)).any()


def test_faiss_clusters_on_one_thread_and_the_process_keeps_its_own_setting(monkeypatch):
    """Sums shared among threads differ in their last bits, and so, now and then, a pair's cluster."""
    threads_of, seen = {}, []
    really_set, once = clustering.faiss.omp_set_num_threads, clustering._clusters_of

    def set_threads(number):
        threads_of[get_ident()] = number
        really_set(number)

    def spy(*arguments):
        seen.append(threads_of.get(get_ident()))
        return once(*arguments)

    monkeypatch.setattr(clustering.faiss, "omp_set_num_threads", set_threads)
    monkeypatch.setattr(clustering, "_clusters_of", spy)
    pairs = topic_pairs({"a": 60, "b": 60})
    cluster_pairs(pairs, topic_vectors(pairs), 10)
    assert seen == [1, 1]
    assert get_ident() not in threads_of


def test_kept_clusters_equal_fresh_ones_and_are_made_once(tmp_path, monkeypatch):
    pairs = topic_pairs({"a": 40})
    vectors = topic_vectors(pairs)
    fresh = cluster_pairs(pairs, vectors, 8)
    np.testing.assert_array_equal(cluster_pairs(pairs, vectors, 8, cache_folder=tmp_path), fresh)
    monkeypatch.setattr(clustering, "_all_clusters", None)
    np.testing.assert_array_equal(cluster_pairs(pairs, vectors, 8, cache_folder=tmp_path), fresh)


def test_other_pairs_vectors_or_settings_are_clustered_anew(tmp_path):
    pairs = topic_pairs({"a": 40})
    vectors = topic_vectors(pairs)
    for known, texts, size, seed in [
        *((pairs, vectors, size, seed) for size, seed in ((8, 0), (9, 0), (8, 1))),
        (pairs, topic_vectors(pairs, seed=1), 8, 0),
        (topic_pairs({"b": 40}), vectors, 8, 0),
    ]:
        cluster_pairs(known, texts, size, seed, tmp_path)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 5


@pytest.mark.parametrize(("size", "seed", "message"), [(0, 0, r"cluster_size=0"), (8, -1, r"found -1")])
def test_impossible_settings_are_refused(size, seed, message):
    pairs = topic_pairs({"a": 20})
    with pytest.raises(ConfigurationError, match=message):
        cluster_pairs(pairs, topic_vectors(pairs), size, seed)


def test_vectors_of_other_pairs_are_refused():
    with pytest.raises(TrainingDataError, match=r"must have a row for each text"):
        cluster_pairs(topic_pairs({"a": 21}), topic_vectors(topic_pairs({"a": 20})), 8)
