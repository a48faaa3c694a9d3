"""Clusters laid end to end, so that cutting the row into batches tears as few of them as possible.

The paper lays whole clusters end to end and cuts (section 4.1), so that nearly every batch straddles two clusters and
some straddle two domains. Here every cluster first gives as many whole batches as it holds. What is left of the
clusters of a pool is laid end to end and gives whole batches; what is left of the pools comes last. No way of cutting
the same clusters has more batches of a single cluster, or of a single pool.

A pool is a domain, or the small domains of a set together. Natural questions, say, have one domain per Wikipedia page,
and hardly any of them fills a batch. Their clusters are then sought over all these pages, rather than that pages are
laid end to end as they come.

Axes: n pairs, B pairs of a batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from cde_retrievers.training.data.pairs import Indices, TrainingPairs

_BEHIND_SET = "/"  # as in the names that `read_pairs` gives domains


def packed(pools: Sequence[Sequence[Indices]], batch_size: int, rng: Generator) -> Indices:
    """All pairs in a new order, to be cut into batches; at the end are those that make up no whole batch.

    Args:
        pools: for each pool, rows of the pairs of each of its clusters.
        batch_size: B.
        rng: decides the order of everything.
    """
    parts = [_pool_packed(pools[place], batch_size, rng) for place in rng.permutation(len(pools))]
    left = _joined([left for _, left in parts])
    over = rng.choice(len(left), len(left) % batch_size, replace=False)
    return _joined([*(whole for whole, _ in parts), np.delete(left, over), left[over]])


def _pool_packed(clusters: Sequence[Indices], batch_size: int, rng: Generator) -> tuple[Indices, Indices]:
    """The pool's pairs in a new order: those that make whole batches, and fewer than a batch that are left."""
    shuffled = [rng.permutation(rows) for rows in clusters]
    whole = [rows[: len(rows) // batch_size * batch_size] for rows in shuffled]
    left = [rows[len(rows) // batch_size * batch_size :] for rows in shuffled]
    torn = [rows for rows in left if len(rows)]
    end_to_end = _joined([torn[place] for place in rng.permutation(len(torn))])
    # From between two batches: wherever it is cut, every pair is left over now and then.
    cut = batch_size * int(rng.integers(len(end_to_end) // batch_size + 1))
    over = slice(cut, cut + len(end_to_end) % batch_size)
    return _joined([*whole, np.delete(end_to_end, over)]), end_to_end[over]


def pools_of(pairs: TrainingPairs, rows: Indices, batch_size: int) -> Indices:
    """The pool of each pair -> (n,): its domain, or with other small ones of the set if it fills no batch.

    Args:
        pairs: n of them.
        rows: those that are trained on.
        batch_size: B.
    """
    sizes = np.bincount(pairs.domain_of[rows], minlength=len(pairs.domains))
    pools = np.arange(len(pairs.domains))
    small_ones: dict[str, int] = {}
    for domain in np.flatnonzero(sizes < batch_size).tolist():
        name_of_set, _, _ = pairs.domains[domain].rpartition(_BEHIND_SET)
        pools[domain] = small_ones.setdefault(name_of_set, domain)
    pooled: Indices = pools[pairs.domain_of]
    return pooled


def _joined(parts: Sequence[Indices]) -> Indices:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
