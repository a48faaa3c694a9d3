"""The batch sampler: the pairs of each batch, epoch after epoch.

Axes: n pairs, G pairs of a global batch, over all processes together.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from torch.utils.data import Sampler

from cde_retrievers.errors import ConfigurationError, TrainingDataError
from cde_retrievers.training.batches.clustering import cluster_pairs
from cde_retrievers.training.batches.packing import packed, pools_of
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Indices, TrainingPairs, first_rows

logger = logging.getLogger(__name__)


class PairBatch(NamedTuple):
    """The pairs of one step, and the seed of its random choices.

    Attributes:
        rows: of the pairs (G,).
        seed: of the run, the epoch, and the step in the epoch; both count from 0.
    """

    rows: Indices
    seed: tuple[int, int, int]


class PairBatchSampler(Sampler[PairBatch]):
    """Batches of equal size, without repeated pairs in an epoch. Each epoch leaves out other pairs that fill no batch.

    `contextual_batches` and `random_batches` make it. The batches of an epoch depend on the seed and its number alone:
    all processes agree, and a resumed run continues with the same batches.

    Args:
        batch_size: G.
        batches_per_epoch: the same in every epoch.
        seed: of all random choices.
        lay_out: returns all rows in the order to cut into batches.
    """

    def __init__(
        self, batch_size: int, batches_per_epoch: int, seed: int, lay_out: Callable[[Generator], Indices]
    ) -> None:
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self._lay_out = lay_out
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.batches_per_epoch

    def __iter__(self) -> Iterator[PairBatch]:
        epoch = self._epoch
        return (PairBatch(rows, (self.seed, epoch, step)) for step, rows in enumerate(self.batches(epoch)))

    def batches(self, epoch: int) -> Indices:
        """The rows of each batch -> (batches_per_epoch, G); batches, and pairs within a batch, in random order.

        Raises:
            ConfigurationError: the epoch is below 0.
        """
        if epoch < 0:
            raise ConfigurationError(f"epochs count from 0, found {epoch}; give 0 or more")
        # Two numbers, not their sum: runs with neighbouring seeds share no epoch.
        rng = np.random.default_rng([self.seed, epoch])
        rows = self._lay_out(rng)[: self.batches_per_epoch * self.batch_size]
        return rng.permuted(rng.permutation(rows.reshape(-1, self.batch_size)), axis=1)


def random_batches(pairs: TrainingPairs, batch_size: int, seed: int = 0) -> PairBatchSampler:
    """Random batches of all pairs, across domains. Repeated pairs count once.

    Raises:
        ConfigurationError: batch_size or seed is impossible.
        TrainingDataError: there are fewer distinct pairs than fill a batch.
    """
    rows = _distinct_rows(pairs, batch_size, seed)
    return PairBatchSampler(batch_size, len(rows) // batch_size, seed, lambda rng: rng.permutation(rows))


def contextual_batches(
    pairs: TrainingPairs,
    vectors: PairVectors,
    batch_size: int,
    cluster_size: int | None = None,
    seed: int = 0,
    cache_folder: str | Path | None = None,
    show_progress: bool | None = None,
) -> PairBatchSampler:
    """Batches of pairs that are hard to tell apart (paper, section 4.1), from clusters. Repeated pairs count once.

    Args:
        pairs: n of them. A batch stays within a domain as long as the domain fills it. Smaller domains are clustered
            together with others of their set (the part of the name before the last "/").
        vectors: of their texts, from `embed_pairs`.
        batch_size: G.
        cluster_size: pairs per cluster on average; G if None.
        seed: of all random choices.
        cache_folder: of the clusters; None for no cache.
        show_progress: show a bar; None for long work only.

    Raises:
        ConfigurationError: a size or the seed is impossible.
        TrainingDataError: there are fewer distinct pairs than fill a batch, or the vectors are of other pairs.
        PathInUseError, WriteError: as `cached_arrays`.
    """
    rows = _distinct_rows(pairs, batch_size, seed)
    _log_mixed_batches(pairs, rows, batch_size)
    size = batch_size if cluster_size is None else cluster_size
    pool_of = pools_of(pairs, rows, batch_size)
    clusters = cluster_pairs(pairs, vectors, size, seed, cache_folder, show_progress, pool_of)
    pools = [_split(rows[pool_of[rows] == pool], clusters) for pool in np.unique(pool_of[rows])]
    return PairBatchSampler(batch_size, len(rows) // batch_size, seed, lambda rng: packed(pools, batch_size, rng))


def _distinct_rows(pairs: TrainingPairs, batch_size: int, seed: int) -> Indices:
    """The first row of each distinct pair of texts, in order."""
    if batch_size < 1 or seed < 0:
        raise ConfigurationError(
            f"batch_size must be at least 1 and seed at least 0, found batch_size={batch_size}, seed={seed}"
        )
    rows = first_rows(pairs)
    if len(rows) < len(pairs):
        logger.warning("%d of %d pairs repeat another pair and are left out", len(pairs) - len(rows), len(pairs))
    if len(rows) < batch_size:
        raise TrainingDataError(
            f"a batch takes {batch_size} distinct pairs, there are {len(rows)}; lower the batch size or add pairs"
        )
    return rows


def _split(rows: Indices, clusters: Indices) -> list[Indices]:
    """Rows by cluster, in the order of the clusters."""
    ordered = rows[np.argsort(clusters[rows], kind="stable")]
    return np.split(ordered, np.flatnonzero(np.diff(clusters[ordered])) + 1)


def _log_mixed_batches(pairs: TrainingPairs, rows: Indices, batch_size: int) -> None:
    sizes = np.bincount(pairs.domain_of[rows], minlength=len(pairs.domains))
    mixed = len(rows) // batch_size - int((sizes // batch_size).sum())
    small = int(((sizes > 0) & (sizes < batch_size)).sum())
    if mixed:
        logger.info(
            "%d of %d batches mix domains, for pairs that fill no batch of their own; %d of %d domains have fewer "
            "pairs than a batch", mixed, len(rows) // batch_size, small, len(pairs.domains),
        )  # fmt: skip
