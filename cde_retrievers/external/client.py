"""Client of an external embedding that pays for no vector twice. Axes: n texts, W width."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import EmbeddingServiceError
from cde_retrievers.external.retries import EmbedTexts, RetryPolicy, embed_with_retries
from cde_retrievers.external.vector_cache import VectorCache
from cde_retrievers.storage.hashing import sha256_of_text
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.vectors import Embeddings


class EmbeddingClient:
    """Requests the vectors of texts in batches, skipping those that are known or cached.

    Args:
        embed: the embedding; called from the caller's thread.
        policy: texts per call and attempts per batch.
        kept: cache of vectors that were paid for.
    """

    def __init__(self, embed: EmbedTexts, policy: RetryPolicy, kept: VectorCache) -> None:
        self._embed = embed
        self._policy = policy
        self._kept = kept

    def of(
        self,
        texts: Sequence[str],
        width: int,
        show_progress: bool | None = None,
        known: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Embeddings:
        """Return the plain vectors of texts as a new array (n, W) float32.

        Args:
            texts: valid texts; repeated ones are requested once.
            width: W.
            show_progress: None shows a bar for long work only.
            known: vectors (W,) that need not be requested, by the SHA-256 of their texts.

        Raises:
            EmbeddingServiceError: every attempt failed or an answer was bad; says how many texts were done before.
        """
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        digests = [sha256_of_text(text) for text in place]
        vectors = np.empty((len(place), width), dtype=np.float32)
        missing = self._fill(vectors, digests, known or {})
        if missing:
            self._ask(list(place), digests, missing, vectors, show_progress)
        return vectors if len(place) == len(texts) else vectors[[place[text] for text in texts]]

    def _fill(self, vectors: Embeddings, digests: list[str], known: Mapping[str, NDArray[np.float32]]) -> list[int]:
        """Fill in the rows that need not be requested; return the numbers of the others."""
        missing = []
        for row, digest in enumerate(digests):
            found = known.get(digest)
            found = self._kept.get(digest) if found is None else found
            if found is None:
                missing.append(row)
            else:
                vectors[row] = found
        return missing

    def _ask(
        self, texts: list[str], digests: list[str], missing: list[int], vectors: Embeddings, show_progress: bool | None
    ) -> None:
        """Fill in the missing rows, and cache each batch at once: neither a failure nor an interrupt loses it."""
        done = 0
        with progress_bar(len(missing), show_progress) as bar:
            while done < len(missing):
                rows = missing[done : done + self._policy.batch_size]
                try:
                    answer = embed_with_retries(
                        self._embed, [texts[row] for row in rows], self._policy, vectors.shape[1]
                    )
                except EmbeddingServiceError as error:
                    kept = sum(self._kept.get(digests[row]) is not None for row in missing)
                    raise EmbeddingServiceError(
                        f"{error}. {done} of {len(missing)} texts were embedded before, and {kept} of their vectors "
                        f"are kept: call again with the same texts, and only the rest is requested"
                    ) from error.__cause__
                vectors[rows] = answer
                self._kept.keep([digests[row] for row in rows], answer)
                done += len(rows)
                bar.update(len(rows))
