"""Which pairs make up which batch, epoch after epoch.

Axes: n pairs, B pairs of a batch, W width.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches.clustering import cluster_pairs
from cde_retrievers.training.batches.packing import Centroids, Layout, PoolLayout
from cde_retrievers.training.batches.pools import pools_of
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.pairs.pairs import Indices, TrainingPairs
from cde_retrievers.training.pairs.repeated import first_rows

logger = logging.getLogger(__name__)

Packing = Literal["random", "tsp"]
PACKINGS: tuple[Packing, ...] = ("random", "tsp")


@dataclass(frozen=True, eq=False)
class BatchSchedule:
    """Batches of one size; no pair comes twice in an epoch, and those that fill no batch are others each time.

    Made by `contextual_schedule` and `random_schedule`.

    Attributes:
        batch_size: B, over all processes together.
        batches_per_epoch: the same for every epoch.
        seed: same pairs, settings and seed, same batches in every process.
    """

    batch_size: int
    batches_per_epoch: int
    seed: int
    _lay_out: Callable[[Generator], Indices] = field(repr=False)

    def batches(self, epoch: int) -> Indices:
        """Rows of the pairs of each batch -> (batches_per_epoch, B), in the order in which to train on them.

        Batches come in random order, and pairs in random order within each.

        Raises:
            ConfigurationError: the epoch is below 0.
        """
        if epoch < 0:
            raise ConfigurationError(f"epochs are counted from 0, found {epoch}")
        # A pair of numbers, not their sum: runs with neighbouring seeds do not share their epochs.
        rng = np.random.default_rng([self.seed, epoch])
        rows = self._lay_out(rng)[: self.batches_per_epoch * self.batch_size]
        return rng.permuted(rng.permutation(rows.reshape(-1, self.batch_size)), axis=1)


def random_schedule(pairs: TrainingPairs, batch_size: int, seed: int = 0) -> BatchSchedule:
    """Batches drawn at random from all pairs, whatever their domain: what contextual ones are compared with.

    Pairs of equal texts count once.

    Raises:
        ConfigurationError: batch_size or seed is impossible.
        TrainingDataError: there are fewer distinct pairs than make a batch.
    """
    rows = _checked_rows(pairs, batch_size, seed)
    return BatchSchedule(batch_size, len(rows) // batch_size, seed, lambda rng: rng.permutation(rows))


def contextual_schedule(
    pairs: TrainingPairs,
    vectors: PairVectors,
    batch_size: int,
    cluster_size: int | None = None,
    packing: Packing = "random",
    seed: int = 0,
    cache_folder: str | Path | None = None,
    show_progress: bool | None = None,
) -> BatchSchedule:
    """Batches of pairs that are hard to tell apart (paper section 4.1): clusters, packed as `packing.py` describes.

    Pairs of equal texts count once.

    Args:
        pairs: n of them; batches keep within domains as far as these fill whole batches. Smaller domains are
            clustered together with others of their set (what stands before the last "/" of their names).
        vectors: of their texts, from `embed_pairs`.
        batch_size: B, over all processes together.
        cluster_size: pairs per cluster on average; B if None.
        packing: order in which leftovers of clusters are laid end to end: "random", or "tsp", from a random one always
            on to the nearest in the mean of its documents.
        seed: of clusters and of all order.
        cache_folder: where clusters are kept; not kept if None.
        show_progress: of clustering; True or False, or None for a bar only where the work is long.

    Raises:
        ConfigurationError: a size, the seed or the packing is impossible.
        TrainingDataError: there are fewer distinct pairs than make a batch, or the vectors are of other pairs.
        PathInUseError: something else is in the cache where the clusters should be.
        WriteError: the disk is full.
    """
    if packing not in PACKINGS:
        raise ConfigurationError(f"packing {packing!r} is unknown; use one of {', '.join(PACKINGS)}")
    rows = _checked_rows(pairs, batch_size, seed)
    _tell_of_mixing(pairs, rows, batch_size)
    size = batch_size if cluster_size is None else cluster_size
    pools = pools_of(pairs, rows, batch_size)
    clusters = cluster_pairs(pairs, vectors, size, seed, cache_folder, show_progress, pools)
    layout = _layout(pairs, rows, pools, clusters, vectors if packing == "tsp" else None)
    return BatchSchedule(batch_size, len(rows) // batch_size, seed, lambda rng: layout.lay_out(batch_size, rng))


def _checked_rows(pairs: TrainingPairs, batch_size: int, seed: int) -> Indices:
    """The first row of each distinct pair of texts, in order."""
    if batch_size < 1 or seed < 0:
        raise ConfigurationError(
            f"batches hold at least one pair and seeds are not negative, found batch_size={batch_size}, seed={seed}"
        )
    rows = first_rows(pairs)
    if len(rows) < len(pairs):
        logger.warning("%d of %d pairs repeat another one and are left out", len(pairs) - len(rows), len(pairs))
    if len(rows) < batch_size:
        raise TrainingDataError(
            f"a batch takes {batch_size} distinct pairs, there are {len(rows)}; lower the batch size or add pairs"
        )
    return rows


def _tell_of_mixing(pairs: TrainingPairs, rows: Indices, batch_size: int) -> None:
    sizes = np.bincount(pairs.domain_of[rows], minlength=len(pairs.domains))
    mixed = len(rows) // batch_size - int((sizes // batch_size).sum())
    small = int(((sizes > 0) & (sizes < batch_size)).sum())
    if mixed:
        logger.info(
            "%d of %d batches are of several domains, from what fills no batch; %d of %d domains have fewer pairs than "
            "a batch", mixed, len(rows) // batch_size, small, len(pairs.domains),
        )  # fmt: skip


def _layout(
    pairs: TrainingPairs, rows: Indices, pools: Indices, clusters: Indices, vectors: PairVectors | None
) -> Layout:
    """Clusters by pool, with the means of their documents where there are vectors."""
    layouts = []
    for pool in np.unique(pools[rows]):
        members = rows[pools[rows] == pool]
        order = np.argsort(clusters[members], kind="stable")
        cuts = np.flatnonzero(np.diff(clusters[members[order]])) + 1
        parts = tuple(np.split(members[order], cuts))
        layouts.append(PoolLayout(parts, _means(pairs, parts, vectors)))
    whole = [np.concatenate(layout.clusters) for layout in layouts]
    return Layout(tuple(layouts), _means(pairs, whole, vectors))


def _means(
    pairs: TrainingPairs, parts: "tuple[Indices, ...] | list[Indices]", vectors: PairVectors | None
) -> Centroids | None:
    if vectors is None:
        return None
    return np.stack([vectors.documents[pairs.positive_of[rows]].mean(axis=0) for rows in parts])
