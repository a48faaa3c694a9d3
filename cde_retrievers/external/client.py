"""Client of an external embedding that pays for no vector twice. Axes: n texts, W width."""

from collections.abc import Iterator, Mapping, Sequence

from cde_retrievers.errors import EmbeddingServiceError
from cde_retrievers.external.retries import EmbedTexts, RetryPolicy, embed_with_retries
from cde_retrievers.external.vector_cache import VectorCache
from cde_retrievers.util.progress import progress_bar
from cde_retrievers.validation.vectors import Embeddings, Vectors


class EmbeddingClient:
    """Requests the vectors of texts in batches, skipping those that are known or cached.

    Args:
        embed: the embedding; called from the caller's thread.
        policy: texts per call and attempts per batch.
        keep_mib: mebibytes of vectors to keep.
    """

    def __init__(self, embed: EmbedTexts, policy: RetryPolicy, keep_mib: int) -> None:
        self._embed = embed
        self._policy = policy
        self._cache = VectorCache(keep_mib)

    def of(
        self,
        texts: Sequence[str],
        width: int,
        show_progress: bool | None = None,
        known: Mapping[str, Vectors] | None = None,
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
        return self._cache.vectors(texts, width, lambda new: self._request(new, width, show_progress), known)

    def _request(self, texts: list[str], width: int, show_progress: bool | None) -> Iterator[Embeddings]:
        """Yield the vectors of each batch of texts."""
        with progress_bar(len(texts), show_progress) as bar:
            for start in range(0, len(texts), self._policy.batch_size):
                batch = texts[start : start + self._policy.batch_size]
                try:
                    answer = embed_with_retries(self._embed, batch, self._policy, width)
                except EmbeddingServiceError as error:
                    kept = sum(text in self._cache for text in texts)
                    raise EmbeddingServiceError(
                        f"{error}. {start} of {len(texts)} texts were embedded before, and {kept} of their vectors "
                        f"are kept: call again with the same texts, and only the rest is requested"
                    ) from error.__cause__
                yield answer
                bar.update(len(batch))
