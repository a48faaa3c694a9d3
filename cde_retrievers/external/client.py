"""Client of an external embedding that pays for no vector twice. Axes: n texts, W width."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.errors import EmbeddingServiceError
from cde_retrievers.external.retries import EmbedTexts, RetryPolicy, embed_with_retries
from cde_retrievers.external.vector_cache import VectorCache
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
        return self._kept.vectors_of(
            texts, width, lambda missing, digests: self._ask(missing, digests, width, show_progress), known
        )

    def _ask(self, texts: Sequence[str], digests: Sequence[str], width: int, show_progress: bool | None) -> Embeddings:
        """Request vectors, and cache each batch at once: neither a failure nor an interrupt loses it."""
        vectors = np.empty((len(texts), width), dtype=np.float32)
        done = 0
        with progress_bar(len(texts), show_progress) as bar:
            while done < len(texts):
                batch = slice(done, done + self._policy.batch_size)
                try:
                    vectors[batch] = embed_with_retries(self._embed, list(texts[batch]), self._policy, width)
                except EmbeddingServiceError as error:
                    kept = sum(self._kept.get(digest) is not None for digest in digests)
                    raise EmbeddingServiceError(
                        f"{error}. {done} of {len(texts)} texts were embedded before, and {kept} of their vectors "
                        f"are kept: call again with the same texts, and only the rest is requested"
                    ) from error.__cause__
                self._kept.keep(digests[batch], vectors[batch])
                bar.update(len(texts[batch]))
                done += len(texts[batch])
        return vectors
