"""Cache of plain vectors that were paid for. Axes: n texts, W width."""

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Embeddings

DEFAULT_MIB = 256  # 43,000 vectors of 1,536 numbers


class VectorCache:
    """Vectors by the SHA-256 of their texts; the oldest are dropped when full. Safe to use from several threads.

    Args:
        mebibytes: size of the cache.

    Raises:
        ConfigurationError: `mebibytes` is not a whole number of at least 0.
    """

    def __init__(self, mebibytes: int = DEFAULT_MIB) -> None:
        check_whole("keep_mib", mebibytes, 0)
        self._room = mebibytes * 2**20
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._lock = Lock()

    def get(self, digest: str) -> NDArray[np.float32] | None:
        """Return the vector (W,) of a text, or None."""
        return self._vectors.get(digest)

    def keep(self, digests: Sequence[str], vectors: Embeddings) -> None:
        """Store copies of the rows of `vectors` (n, W)."""
        with self._lock:
            for digest, vector in zip(digests, vectors, strict=True):
                self._drop(digest)
                self._vectors[digest] = vector.copy()
                self._room -= vector.nbytes
            while self._room < 0:
                self._drop(next(iter(self._vectors)))

    def _drop(self, digest: str) -> None:
        vector = self._vectors.pop(digest, None)
        self._room += 0 if vector is None else vector.nbytes
