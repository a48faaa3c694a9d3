"""Clusters laid end to end: as few torn as can be."""

import numpy as np
import pytest

from cde_retrievers.training.batches.packing import Layout, PoolLayout, nearest_walk

SIZES = [
    {"a": [5, 3, 9, 2, 2, 7, 1, 4], "b": [4, 4], "c": [1, 2]},
    {"a": [3, 3, 3, 3, 3], "b": [6, 1, 1], "c": [2], "d": [11, 5]},
    {"a": [40]},
]


def clusters_of(sizes):
    """Rows by domain and cluster, and the cluster and the domain of each row."""
    rows, by_domain, cluster_of, domain_of = 0, [], [], []
    for domain, counts in enumerate(sizes.values()):
        by_domain.append([])
        for count in counts:
            by_domain[-1].append(np.arange(rows, rows + count))
            cluster_of += [max(cluster_of, default=-1) + 1] * count
            domain_of += [domain] * count
            rows += count
    return by_domain, np.array(cluster_of), np.array(domain_of)


def layout_of(by_domain, width=3, walk=False):
    rng = np.random.default_rng(9)
    domains = tuple(
        PoolLayout(tuple(clusters), rng.standard_normal((len(clusters), width)) if walk else None)
        for clusters in by_domain
    )
    return Layout(domains, rng.standard_normal((len(domains), width)) if walk else None)


def plain_cut(by_domain, rng):
    """The paper's: clusters of a domain in random order, domains one after the other."""
    order = [
        by_domain[place][i] for place in rng.permutation(len(by_domain)) for i in rng.permutation(len(by_domain[place]))
    ]
    return np.concatenate(order)


def straddling(rows, group_of, batch_size):
    """Batches with rows of more than one group."""
    batches = [rows[start : start + batch_size] for start in range(0, len(rows) - batch_size + 1, batch_size)]
    return sum(len(set(group_of[batch])) > 1 for batch in batches)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("walk", [False, True])
@pytest.mark.parametrize("batch_size", [2, 4, 5])
def test_no_more_batches_straddle_than_in_the_plain_cut(sizes, walk, batch_size):
    by_domain, cluster_of, domain_of = clusters_of(sizes)
    layout = layout_of(by_domain, walk=walk)
    for seed in range(20):
        ours = layout.lay_out(batch_size, np.random.default_rng(seed))
        plain = plain_cut(by_domain, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.sort(ours), np.sort(plain))
        for group_of in (cluster_of, domain_of):
            assert straddling(ours, group_of, batch_size) <= straddling(plain, group_of, batch_size)


@pytest.mark.parametrize("sizes", SIZES)
def test_clusters_and_domains_give_all_the_whole_batches_they_hold(sizes):
    by_domain, cluster_of, domain_of = clusters_of(sizes)
    rows = layout_of(by_domain).lay_out(4, np.random.default_rng(0))
    batches = len(rows) // 4
    for group_of in (cluster_of, domain_of):
        assert batches - straddling(rows, group_of, 4) == sum(np.bincount(group_of) // 4)


def test_what_is_left_of_clusters_is_laid_out_along_a_walk_of_their_centroids():
    centroids = np.array([[0.0], [10.0], [1.0], [11.0]])
    clusters = tuple(np.arange(5 * i, 5 * i + 5) for i in range(4))
    for seed in range(5):
        whole, left = PoolLayout(clusters, centroids).lay_out(4, np.random.default_rng(seed))
        # One row is left of each cluster; they make the last batch of the domain.
        assert len(left) == 0
        neighbours = [int(row) // 5 for row in whole[-4:]]
        assert {frozenset(neighbours[:2]), frozenset(neighbours[2:])} in (
            {frozenset({0, 2}), frozenset({1, 3})},
            {frozenset({2, 0}), frozenset({3, 1})},
        )


def slow_walk(centroids, start):
    order, left = [start], set(range(len(centroids))) - {start}
    while left:
        here = min(sorted(left), key=lambda place: np.linalg.norm(centroids[place] - centroids[order[-1]]))
        order.append(here)
        left.remove(here)
    return order


@pytest.mark.parametrize("start", [0, 7, 29])
def test_the_walk_goes_to_the_nearest_centroid_not_yet_visited(start):
    centroids = np.random.default_rng(1).standard_normal((30, 5)).astype(np.float32)
    assert nearest_walk(centroids, start).tolist() == slow_walk(centroids.astype(np.float64), start)


@pytest.mark.parametrize("walk", [False, True])
def test_the_order_is_the_generators(walk):
    by_domain, _, _ = clusters_of(SIZES[0])
    layout = layout_of(by_domain, walk=walk)
    orders = [layout.lay_out(4, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_what_is_unlike_the_rest_is_not_left_out_every_time():
    """It is where a walk ends, so leaving out what stands last would leave it out nearly always."""
    centroids = np.array([[0.0], [1.0], [2.0], [3.0], [99.0]])
    clusters = tuple(np.arange(3 * i, 3 * i + 3) for i in range(5))
    outlier = [
        set(PoolLayout(clusters, centroids).lay_out(4, np.random.default_rng(seed))[1]) <= {12, 13, 14}
        for seed in range(60)
    ]
    assert 0 < sum(outlier) < 30


def test_a_large_cluster_is_cut_anew_each_time():
    domain = PoolLayout((np.arange(8),), None)
    cuts = {frozenset(domain.lay_out(4, np.random.default_rng(seed))[0][:4].tolist()) for seed in range(5)}
    assert len(cuts) > 1
