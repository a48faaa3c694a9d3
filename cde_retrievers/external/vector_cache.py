"""Vectors of texts that were computed before, so that none is paid for twice. Axes: n texts, W width."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock

import numpy as np

from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.vectors import Vectors

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
        self._room = float("inf") if mebibytes is None else mebibytes * 2**20
        self._vectors: dict[str, Vectors] = {}
        self._lock = Lock()

    def __contains__(self, text: str) -> bool:
        return sha256_of_text(text) in self._vectors

    def vectors(
        self,
        texts: Sequence[str],
        width: int,
        embed: Callable[[list[str]], Iterable[Vectors]],
        known: Mapping[str, Vectors] | None = None,
    ) -> Vectors:
        """Return the vectors of texts as a new array (n, W) float32.

        Args:
            texts: valid texts; repeated ones are embedded once.
            width: W.
            embed: embeds the texts that are not cached, and yields their vectors in order, in batches of any size.
                Each batch is cached at once: neither a failure nor an interrupt loses it.
            known: further vectors (W,) that need not be computed, by the SHA-256 of their texts.
        """
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        digests = [sha256_of_text(text) for text in place]
        vectors = np.empty((len(place), width), dtype=np.float32)
        missing = self._fill(vectors, digests, known or {})
        if missing:
            distinct = list(place)
            done = 0
            for batch in embed([distinct[row] for row in missing]):
                rows = missing[done : done + len(batch)]
                vectors[rows] = batch
                self._keep([digests[row] for row in rows], batch)
                done += len(rows)
        return vectors if len(place) == len(texts) else vectors[[place[text] for text in texts]]

    def _fill(self, vectors: Vectors, digests: list[str], known: Mapping[str, Vectors]) -> list[int]:
        """Fill in the rows whose vectors exist; return the numbers of the others."""
        missing = []
        for row, digest in enumerate(digests):
            found = known.get(digest)
            found = self._vectors.get(digest) if found is None else found
            if found is None:
                missing.append(row)
            else:
                vectors[row] = found
        return missing

    def _keep(self, digests: Sequence[str], vectors: Vectors) -> None:
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
