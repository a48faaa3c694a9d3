"""Selection of context documents: one pass over any number of texts, in bounded memory.

Axes: M candidates, N context documents, W width.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import ConfigurationError, ContextTooSmallError
from cde_retrievers.util.forked import prepare_faiss
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import checked_vectors, unit_rows

Vectors = NDArray[np.float32]
Indices = NDArray[np.int64]
_PRIORITY_BYTES = 16
LARGEST = 1 << 20
"""Largest number of context documents: a small corpus is repeated to fill the context, which takes memory."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A uniform sample of the distinct texts of a corpus, in an order that depends on seed and text alone.

    Attributes:
        texts: the sampled texts, all different.
        positions: first position of each in the corpus.
        seen: number of texts in the corpus, including repeated ones.
    """

    texts: list[str]
    positions: list[int]
    seen: int


@dataclass(frozen=True, slots=True)
class Strategy:
    """How context documents are chosen among candidates.

    Attributes:
        pool: number of candidates to draw per context document.
        choose: (unit first-stage vectors (M, W), N, seed) -> indices of N candidates, in context order.
    """

    pool: int
    choose: Callable[[Vectors, int, int], Indices]


@dataclass(frozen=True, slots=True)
class Selection:
    """The documents chosen for a context, in order.

    Attributes:
        texts: N texts; fewer distinct ones are repeated in turn.
        vectors: their first-stage vectors (N, W).
        positions: first position of each in the corpus.
        distinct: number of distinct documents.
        seen: number of texts in the corpus.
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
    """Choose `size` documents that represent the corpus.

    Args:
        texts: the corpus, as any iterable; read once.
        size: number of context documents, N.
        strategy: a key of `STRATEGIES`.
        seed: the same seed and corpus, in any order, give the same documents.
        embed: returns first-stage vectors (M, W) of texts.

    Raises:
        ConfigurationError: size, strategy or seed is impossible.
        InvalidTextError: the corpus is not a collection of texts.
        ContextTooSmallError: fewer than two distinct documents.
        EmbeddingServiceError: `embed` did not return one finite vector for each text.
    """
    check_choice(size, strategy, seed)
    chosen = STRATEGIES[strategy]
    pool = draw_candidates(texts, size * chosen.pool, seed)
    if len(pool.texts) < 2:
        raise ContextTooSmallError(
            f"a context needs at least 2 distinct documents, found {len(pool.texts)} among {pool.seen}; "
            f"fit on all the documents that you are going to index, and split a long one into parts, as "
            f'split="headings" (--split headings) does'
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
    """Raise ConfigurationError unless these are valid arguments of `select_documents`."""
    check_whole("size", size, 2)
    if size > LARGEST:
        raise ConfigurationError(f"size must be a whole number of at most {LARGEST:,} documents, found {size:,}")
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"strategy {strategy!r} is unknown; use one of {sorted(STRATEGIES)}")


def draw_candidates(texts: Iterable[str], size: int, seed: int) -> Candidates:
    """Draw a uniform sample of at most `size` distinct texts.

    Every text has a priority, a keyed hash of itself, and the smallest ones are kept (bottom-k sampling). So
    repeated texts count once, memory holds `size` texts, and the order of the corpus does not matter.
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
    """Choose the member nearest the centroid of each of `size` k-means clusters, large clusters first."""
    if size == len(vectors):
        return np.arange(size)
    import faiss

    prepare_faiss()
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
    # faiss may leave a cluster empty: further candidates fill up, in their random order.
    others = np.setdiff1d(np.arange(len(vectors)), nearest)
    return np.concatenate([nearest, others])[:size]


def _farthest_first(vectors: Vectors, size: int, seed: int) -> Indices:
    """Choose each next candidate farthest from all chosen ones (Gonzalez, 1985); the first is random."""
    chosen = np.zeros(size, dtype=np.int64)
    similarity = vectors @ vectors[0]
    similarity[0] = np.inf
    for place in range(1, size):
        chosen[place] = np.argmin(similarity)
        similarity = np.maximum(similarity, vectors @ vectors[chosen[place]])
        # Never chosen again, even if other candidates have the same vector.
        similarity[chosen[place]] = np.inf
    return chosen


STRATEGIES: Mapping[str, Strategy] = {
    "random": Strategy(pool=1, choose=_first),
    "kmeans": Strategy(pool=8, choose=_nearest_to_centroids),
    "diverse": Strategy(pool=8, choose=_farthest_first),
}
