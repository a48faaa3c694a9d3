"""The order of pairs, by cluster: cutting it into batches splits as few clusters as possible.

The paper cuts a sequence of whole clusters (section 4.1), so that nearly every batch straddles two clusters and some
straddle two domains. Here each cluster first gives as many whole batches as it holds. The remainders of the clusters of
a pool are joined and give whole batches; the remainders of the pools come last. No other cut of the same clusters has
more batches of a single cluster, or of a single pool.

A pool is a domain, or all small domains of a data set. With one domain per Wikipedia page, for example, hardly any
domain fills a batch; the pairs of all these pages are then clustered together.

Axes: n pairs, B pairs of a batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from cde_retrievers.training.data.pairs import Indices, TrainingPairs

_SEPARATOR = "/"  # of set and part, in names of domains by `read_pairs`


def packed(pools: Sequence[Sequence[Indices]], batch_size: int, rng: Generator) -> Indices:
    """All pairs in a new order, to be cut into batches; those that fill no batch come last.

    Args:
        pools: rows of the pairs, by pool and cluster.
        batch_size: B.
        rng: chooses the order of pools, clusters and pairs.
    """
    parts = [_pool_packed(pools[place], batch_size, rng) for place in rng.permutation(len(pools))]
    left = _joined([left for _, left in parts])
    over = rng.choice(len(left), len(left) % batch_size, replace=False)
    return _joined([*(whole for whole, _ in parts), np.delete(left, over), left[over]])


def _pool_packed(clusters: Sequence[Indices], batch_size: int, rng: Generator) -> tuple[Indices, Indices]:
    """The pairs of a pool in a new order: those of whole batches, and the remainder."""
    shuffled = [rng.permutation(rows) for rows in clusters]
    whole = [rows[: len(rows) // batch_size * batch_size] for rows in shuffled]
    left = [rows[len(rows) // batch_size * batch_size :] for rows in shuffled]
    torn = [rows for rows in left if len(rows)]
    end_to_end = _joined([torn[place] for place in rng.permutation(len(torn))])
    # Cut between two batches. The place is random, so that every pair is left out now and then.
    cut = batch_size * int(rng.integers(len(end_to_end) // batch_size + 1))
    over = slice(cut, cut + len(end_to_end) % batch_size)
    return _joined([*whole, np.delete(end_to_end, over)]), end_to_end[over]


def pools_of(pairs: TrainingPairs, rows: Indices, batch_size: int) -> Indices:
    """The pool of each pair -> (n,): its domain, or all domains of its set that fill no batch.

    Args:
        pairs: n of them.
        rows: of the pairs that are trained on.
        batch_size: B.
    """
    sizes = np.bincount(pairs.domain_of[rows], minlength=len(pairs.domains))
    pools = np.arange(len(pairs.domains))
    small_ones: dict[str, int] = {}
    for domain in np.flatnonzero(sizes < batch_size).tolist():
        name_of_set, _, _ = pairs.domains[domain].rpartition(_SEPARATOR)
        pools[domain] = small_ones.setdefault(name_of_set, domain)
    pooled: Indices = pools[pairs.domain_of]
    return pooled


def _joined(parts: Sequence[Indices]) -> Indices:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
