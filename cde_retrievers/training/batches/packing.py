"""Clusters laid end to end, so that cutting the row into batches tears as few of them as possible.

The paper lays whole clusters end to end and cuts (section 4.1), so that nearly every batch
straddles two clusters and some straddle two domains. Here every cluster first gives as many whole batches as it holds.
What is left of the clusters of a pool (`pools.py`: mostly a domain) is laid end to end and gives whole batches; what is
left of the pools comes last. No way of cutting the same clusters has more batches of a single cluster, or of a single
pool.

Axes: n pairs, K clusters, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cde_retrievers.training.pairs.pairs import Indices

Centroids = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PoolLayout:
    """The clusters of one pool.

    Attributes:
        clusters: rows of the pairs of each.
        centroids: (K, W), to walk from each to the nearest; in random order if None.
    """

    clusters: tuple[Indices, ...]
    centroids: Centroids | None

    def lay_out(self, batch_size: int, rng: Generator) -> tuple[Indices, Indices]:
        """The pool's pairs in a new order: those that make whole batches, and fewer than a batch that are left."""
        shuffled = [rng.permutation(rows) for rows in self.clusters]
        whole = [rows[: len(rows) // batch_size * batch_size] for rows in shuffled]
        left = [rows[len(rows) // batch_size * batch_size :] for rows in shuffled]
        torn = np.flatnonzero([len(rows) for rows in left])
        order = torn[_order(len(torn), None if self.centroids is None else self.centroids[torn], rng)]
        end_to_end = _joined([left[place] for place in order])
        # From between two batches, not from the end: a walk ends in what is unlike anything else, again and again.
        cut = batch_size * int(rng.integers(len(end_to_end) // batch_size + 1))
        over = slice(cut, cut + len(end_to_end) % batch_size)
        return _joined([*whole, np.delete(end_to_end, over)]), end_to_end[over]


@dataclass(frozen=True, eq=False)
class Layout:
    """The clusters of all pools.

    Attributes:
        pools: one after the other.
        centroids: (number of pools, W), as those of clusters.
    """

    pools: tuple[PoolLayout, ...]
    centroids: Centroids | None

    def lay_out(self, batch_size: int, rng: Generator) -> Indices:
        """All pairs in a new order, to be cut into batches; at the end are those that make up no whole batch."""
        order = _order(len(self.pools), self.centroids, rng)
        parts = [self.pools[place].lay_out(batch_size, rng) for place in order]
        left = _joined([left for _, left in parts])
        over = rng.choice(len(left), len(left) % batch_size, replace=False)
        return _joined([*(whole for whole, _ in parts), np.delete(left, over), left[over]])


def nearest_walk(centroids: Centroids, start: int) -> Indices:
    """From `start` always on to the nearest centroid not yet visited -> (K,); Euclidean, specification 3.3.

    Args:
        centroids: (K, W).
        start: the first one.
    """
    squares = np.einsum("kw,kw->k", centroids, centroids)
    order = np.empty(len(centroids), dtype=np.int64)
    unvisited = np.ones(len(centroids), dtype=np.bool_)
    here = start
    for step in range(len(centroids)):
        order[step] = here
        unvisited[here] = False
        # Squared, but for what they have in common. Not by BLAS, whose last bits vary with the number of threads.
        distances = squares - 2 * np.einsum("kw,w->k", centroids, centroids[here])
        here = int(np.argmin(np.where(unvisited, distances, np.inf)))
    return order


def _order(count: int, centroids: Centroids | None, rng: Generator) -> Indices:
    if centroids is None or count == 0:
        return rng.permutation(count)
    return nearest_walk(centroids, int(rng.integers(count)))


def _joined(parts: Sequence[Indices]) -> Indices:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
