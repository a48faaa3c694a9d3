"""Which documents stand for a corpus: one pass over any number of texts, in bounded memory.

Axes: M candidates, N context documents, W width.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import checked_vectors, unit_rows

Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]
_PRIORITY_BYTES = 16
LARGEST = 1 << 20
"""Documents of a context at most: a smaller corpus is repeated to fill it, which takes memory."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A uniform sample of the distinct texts of a corpus, in an order that depends on seed and text alone.

    Attributes:
        texts: the sampled texts, all different.
        positions: where each first stood in the corpus.
        seen: texts in the corpus, repeated ones included.
    """

    texts: list[str]
    positions: list[int]
    seen: int


@dataclass(frozen=True, slots=True)
class Strategy:
    """How context documents are chosen among candidates.

    Attributes:
        pool: candidates to draw per context document.
        choose: (unit first-stage vectors (M, W), N, seed) -> indices of N candidates, in context order.
    """

    pool: int
    choose: Callable[[Vectors, int, int], Indices]


@dataclass(frozen=True, slots=True)
class Selection:
    """The documents of a context, in its order.

    Attributes:
        texts: N texts; fewer distinct ones are repeated in turn.
        vectors: their first-stage vectors (N, W).
        positions: where each first stood in the corpus.
        distinct: how many different ones there are.
        seen: texts in the corpus.
    """

    texts: list[str]
    vectors: Vectors
    positions: list[int]
    distinct: int
    seen: int


def select_documents(
    texts: Iterable[str],
    size: int,
    strategy: str,
    seed: int,
    embed: Callable[[list[str]], Vectors],
) -> Selection:
    """Choose `size` documents to stand for the corpus.

    Args:
        texts: the corpus, as any iterable; read once.
        size: context documents, N.
        strategy: a key of `STRATEGIES`.
        seed: the same seed and corpus, in whatever order, give the same documents.
        embed: first-stage vectors of texts, (M, W).

    Raises:
        ConfigurationError: size, strategy or seed is impossible.
        InvalidTextError: the corpus is not a collection of texts.
        ContextTooSmallError: fewer than two distinct documents.
        EmbeddingServiceError: `embed` answered with something that is not one finite vector for each text.
    """
    check_choice(size, strategy, seed)
    chosen = STRATEGIES[strategy]
    pool = draw_candidates(texts, size * chosen.pool, seed)
    if len(pool.texts) < 2:
        raise ContextTooSmallError(
            f"a context needs at least 2 distinct documents, found {len(pool.texts)} among {pool.seen}; "
            f"fit on all the documents that you are going to index"
        )
    vectors = checked_vectors(embed(pool.texts), len(pool.texts), None)
    distinct = min(size, len(pool.texts))
    order = np.resize(chosen.choose(unit_rows(vectors), distinct, seed), size)
    return Selection(
        [pool.texts[i] for i in order],
        vectors[order],
        [pool.positions[i] for i in order],
        distinct,
        pool.seen,
    )


@validated
def check_choice(size: int, strategy: str, seed: int) -> None:
    """Raise ConfigurationError unless `select_documents` can be told this."""
    if size < 2:
        raise ConfigurationError(f"size must be a whole number of at least 2 documents, found {size}")
    if size > LARGEST:
        raise ConfigurationError(f"size must be a whole number of at most {LARGEST:,} documents, found {size:,}")
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"strategy {strategy!r} is unknown; use one of {sorted(STRATEGIES)}")


def draw_candidates(texts: Iterable[str], size: int, seed: int) -> Candidates:
    """A uniform sample of at most `size` distinct texts.

    Every text has a priority, a keyed hash of itself, and the smallest ones stay (bottom-k sampling). So
    repeated texts meet themselves, memory holds `size` texts, and the order of the corpus does not matter.
    """
    key = hashlib.sha256(str(seed).encode()).digest()
    heap: list[tuple[int, int, str]] = []  # (-priority, position, text): the largest priority on top
    kept: set[int] = set()
    seen = 0
    for position, text in enumerate(checked_texts(texts)):
        seen += 1
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=_PRIORITY_BYTES, key=key).digest()
        priority = int.from_bytes(digest, "big")
        if priority in kept or (len(heap) == size and priority > -heap[0][0]):
            continue
        kept.add(priority)
        heapq.heappush(heap, (-priority, position, text))
        if len(heap) > size:
            kept.discard(-heapq.heappop(heap)[0])
    drawn = sorted(heap, key=lambda entry: -entry[0])
    return Candidates([text for _, _, text in drawn], [position for _, position, _ in drawn], seen)


def _first(vectors: Vectors, size: int, seed: int) -> Indices:
    return np.arange(size)


def _nearest_to_centroids(vectors: Vectors, size: int, seed: int) -> Indices:
    """Of each of `size` k-means clusters the member nearest the centroid, large clusters first."""
    if size == len(vectors):
        return np.arange(size)
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        size,
        niter=20,
        seed=seed % 2**31,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    kmeans.train(vectors)
    distances, assigned = kmeans.index.search(vectors, 1)
    members = np.bincount(assigned[:, 0], minlength=size)
    by_distance = np.argsort(distances[:, 0], kind="stable")
    clusters, first_seen = np.unique(assigned[by_distance, 0], return_index=True)
    nearest = by_distance[first_seen][np.argsort(-members[clusters], kind="stable")]
    # faiss may leave a cluster empty: candidates not yet taken stand in, in their random order.
    others = np.setdiff1d(np.arange(len(vectors)), nearest)
    return np.concatenate([nearest, others])[:size]


def _farthest_first(vectors: Vectors, size: int, seed: int) -> Indices:
    """Each next one is the farthest from all before it (Gonzalez, 1985); the first is a random one."""
    chosen = np.zeros(size, dtype=np.int64)
    similarity = vectors @ vectors[0]
    similarity[0] = np.inf
    for place in range(1, size):
        chosen[place] = np.argmin(similarity)
        similarity = np.maximum(similarity, vectors @ vectors[chosen[place]])
        # Never again, even where other candidates have the very same vector.
        similarity[chosen[place]] = np.inf
    return chosen


STRATEGIES: Mapping[str, Strategy] = {
    "random": Strategy(pool=1, choose=_first),
    "kmeans": Strategy(pool=8, choose=_nearest_to_centroids),
    "diverse": Strategy(pool=8, choose=_farthest_first),
}
