"""Clusters laid end to end: as few torn as can be."""

import numpy as np
import pytest

from cde_retrievers.training.batches.packing import packed

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
@pytest.mark.parametrize("batch_size", [2, 4, 5])
def test_no_more_batches_straddle_than_in_the_plain_cut(sizes, batch_size):
    by_domain, cluster_of, domain_of = clusters_of(sizes)
    for seed in range(20):
        ours = packed(by_domain, batch_size, np.random.default_rng(seed))
        plain = plain_cut(by_domain, np.random.default_rng(seed))
        np.testing.assert_array_equal(np.sort(ours), np.sort(plain))
        for group_of in (cluster_of, domain_of):
            assert straddling(ours, group_of, batch_size) <= straddling(plain, group_of, batch_size)


@pytest.mark.parametrize("sizes", SIZES)
def test_clusters_and_domains_give_all_the_whole_batches_they_hold(sizes):
    by_domain, cluster_of, domain_of = clusters_of(sizes)
    rows = packed(by_domain, 4, np.random.default_rng(0))
    batches = len(rows) // 4
    for group_of in (cluster_of, domain_of):
        assert batches - straddling(rows, group_of, 4) == sum(np.bincount(group_of) // 4)


def test_the_order_is_the_generators():
    by_domain, _, _ = clusters_of(SIZES[0])
    orders = [packed(by_domain, 4, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_every_pair_is_left_over_now_and_then():
    clusters = [np.arange(3 * i, 3 * i + 3) for i in range(5)]
    left = [set(packed([clusters], 4, np.random.default_rng(seed))[-3:].tolist()) for seed in range(60)]
    assert set().union(*left) == set(range(15))


def test_a_large_cluster_is_cut_anew_each_time():
    cuts = {frozenset(packed([[np.arange(8)]], 4, np.random.default_rng(seed))[:4].tolist()) for seed in range(5)}
    assert len(cuts) > 1
