"""Clusters of similar pairs: spherical k-means within each domain or pool of domains, by faiss.

Axes: n pairs, m pairs of a pool, k clusters of it, W width of a vector.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError
from cde_retrievers.storage.hashing import sha256_of_json
from cde_retrievers.training.array_cache import cached_arrays
from cde_retrievers.training.batches.surrogate import PairVectors
from cde_retrievers.training.data.pairs import Indices, TrainingPairs
from cde_retrievers.util.progress import progress_bar

# The paper's: at most 100 iterations, best of 3 runs.
_ITERATIONS, _RESTARTS = 100, 3
_POINTS_PER_CENTROID = 256
_LARGEST_SEED = 2**31 - 1


def cluster_pairs(
    pairs: TrainingPairs,
    vectors: PairVectors,
    cluster_size: int,
    seed: int = 0,
    cache_folder: str | Path | None = None,
    show_progress: bool | None = None,
    pools: Indices | None = None,
) -> Indices:
    """The cluster of each pair -> (n,), numbered from 0 without gaps; no cluster spans two pools.

    Each pair is two points, query with document and document with query, which bounds the paper's cost (section 4.1);
    its cluster is the centroid nearest to the first. A pool of m pairs has at most ceil(m / cluster_size) clusters of
    various sizes. The result depends on the arguments and the kind of machine, not on the number of threads.

    Args:
        pairs: n of them.
        vectors: of their texts.
        cluster_size: pairs per cluster on average.
        seed: of the first centroids.
        cache_folder: a cache by a hash of pairs, vectors and settings; None for no cache.
        show_progress: show a bar; None for long work only.
        pools: the pool of each pair, (n,); its domain if None.

    Raises:
        ConfigurationError: cluster_size or seed is impossible.
        TrainingDataError: the vectors are of other pairs.
        PathInUseError, WriteError: as `cached_arrays`.
    """
    _check_settings(cluster_size, seed)
    vectors.check_pairs(pairs)
    within = pairs.domain_of if pools is None else pools
    if cache_folder is None:
        return _all_clusters(pairs, vectors, within, cluster_size, seed, show_progress)

    def write(folder: Path) -> None:
        np.save(folder / "clusters.npy", _all_clusters(pairs, vectors, within, cluster_size, seed, show_progress))

    made_from = {
        "pairs": pairs.fingerprint,
        "vectors": vectors.fingerprint,
        "cluster_size": cluster_size,
        "seed": seed,
        "pools": sha256_of_json(within.tolist()),
        "iterations": _ITERATIONS,
        "restarts": _RESTARTS,
        "faiss": faiss.__version__,
    }
    clusters: Indices = np.array(cached_arrays(cache_folder, "clusters", made_from, write)["clusters"])
    return clusters


def _check_settings(cluster_size: int, seed: int) -> None:
    if cluster_size < 1:
        raise ConfigurationError(f"a cluster must hold at least 1 pair, found cluster_size={cluster_size}")
    if not 0 <= seed <= _LARGEST_SEED:
        raise ConfigurationError(f"seed must be between 0 and {_LARGEST_SEED}, found {seed}; give another")


def _all_clusters(
    pairs: TrainingPairs,
    vectors: PairVectors,
    pools: Indices,
    cluster_size: int,
    seed: int,
    show_progress: bool | None,
) -> Indices:
    by_pool = [np.flatnonzero(pools == pool) for pool in np.unique(pools)]

    def found_in(rows: Indices) -> Indices:
        return _clusters_of(pairs, vectors, rows, math.ceil(len(rows) / cluster_size), seed)

    clusters = np.empty(len(pairs), dtype=np.int64)
    first = 0
    # Several pools at a time, each on one thread: with several threads per pool the last bits of sums, and so now and
    # then a pair's cluster, would depend on their number. The faiss setting holds for the calling thread alone.
    workers = ThreadPoolExecutor(faiss.omp_get_max_threads(), initializer=faiss.omp_set_num_threads, initargs=(1,))
    with workers, progress_bar(len(pairs), show_progress, "Clustering", "pair") as bar:
        for rows, found in zip(by_pool, workers.map(found_in, by_pool), strict=True):
            clusters[rows] = first + found
            first += int(found.max()) + 1
            bar.update(len(rows))
    return clusters


def _clusters_of(pairs: TrainingPairs, vectors: PairVectors, rows: Indices, k: int, seed: int) -> Indices:
    """Clusters (m,) of these pairs, numbered from 0 without gaps."""
    if k == 1:
        return np.zeros(len(rows), dtype=np.int64)
    points = _both_orders(vectors.queries[pairs.query_of[rows]], vectors.documents[pairs.positive_of[rows]])
    # High enough to use every point, 2m / k per centroid; faiss would sample them.
    per_centroid = max(_POINTS_PER_CENTROID, math.ceil(len(points) / k))
    kmeans = faiss.Kmeans(
        points.shape[1], k, niter=_ITERATIONS, nredo=_RESTARTS, seed=seed, spherical=True,
        min_points_per_centroid=1, max_points_per_centroid=per_centroid,
    )  # fmt: skip
    kmeans.train(points)
    _, nearest = kmeans.index.search(points[: len(rows)], 1)
    _, clusters = np.unique(nearest[:, 0], return_inverse=True)  # without empty clusters
    return clusters.astype(np.int64)


def _both_orders(queries: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows (m, W) of each -> unit rows (2m, 2W): query with document, then document with query."""
    points = np.vstack([np.hstack([queries, documents]), np.hstack([documents, queries])])
    points *= np.float32(math.sqrt(0.5))
    return points
