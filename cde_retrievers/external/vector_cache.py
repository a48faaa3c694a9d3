"""Plain vectors that are kept, so that none is computed or paid for twice. Axes: n texts, W width."""

import math
from collections.abc import Callable, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Embeddings

DEFAULT_MIB = 256  # 43,000 vectors of 1,536 numbers


class VectorCache:
    """Vectors by the SHA-256 of their texts; the oldest are dropped when full. Safe to use from several threads.

    Args:
        mebibytes: size of the cache; None for no limit.

    Raises:
        ConfigurationError: `mebibytes` is not a whole number of at least 0.
    """

    def __init__(self, mebibytes: int | None = DEFAULT_MIB) -> None:
        if mebibytes is not None:
            check_whole("keep_mib", mebibytes, 0)
        self._room = math.inf if mebibytes is None else mebibytes * 2**20
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

    def vectors_of(
        self,
        texts: Sequence[str],
        width: int,
        compute: Callable[[Sequence[str], Sequence[str]], Embeddings],
        known: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Embeddings:
        """Return the vectors of texts as a new array (n, W) float32.

        Args:
            texts: valid texts; repeated ones are computed once.
            width: W.
            compute: (m texts, their digests) -> vectors (m, W) of those that are neither cached nor known.
            known: further vectors (W,), by the SHA-256 of their texts.
        """
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        found = np.empty((len(place), width), dtype=np.float32)
        missing: dict[str, str] = {}
        for text, row in place.items():
            digest = sha256_of_text(text)
            vector = (known or {}).get(digest)
            vector = self.get(digest) if vector is None else vector
            if vector is None:
                missing[text] = digest
            else:
                found[row] = vector
        if missing:
            found[[place[text] for text in missing]] = compute(list(missing), list(missing.values()))
        return found if len(place) == len(texts) else found[[place[text] for text in texts]]

    def _drop(self, digest: str) -> None:
        vector = self._vectors.pop(digest, None)
        self._room += 0 if vector is None else vector.nbytes
