"""An embedder that keeps its vectors in a LlamaIndex key-value store, by context, role and text."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from llama_index.core.storage.kvstore.types import BaseKVStore

from cde_retrievers.batches import Embeddings
from cde_retrievers.context import CorpusContext
from cde_retrievers.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.llama_index.kvstore import ContextualKVStore, Role
from cde_retrievers.text import checked_texts
from cde_retrievers.vectors import Vectors, checked_embeddings
from cde_retrievers.wrapped import WrappedEmbedder

_COLLECTION = "embeddings"
_VECTOR = "vector"


class CachedEmbedder(WrappedEmbedder):
    """Looks a text up where LlamaIndex cannot: here every call says its context, and whether texts are queries.

    Args:
        embedder: embeds what the store does not have yet.
        store: any key-value store of LlamaIndex; it may be shared between embedders.

    Raises:
        ConfigurationError: `store` is no key-value store.
    """

    def __init__(self, embedder: Embedder, store: BaseKVStore) -> None:
        if not isinstance(store, BaseKVStore):
            raise ConfigurationError(
                f"embeddings_cache must be a key-value store of LlamaIndex, found {type(store).__name__}; "
                f"use SimpleKVStore() of llama_index.core.storage.kvstore, for example"
            )
        super().__init__(embedder.name, embedder.fingerprint)
        self._wrapped = embedder
        self.store = store

    def _embedder(self) -> Embedder:
        return self._wrapped

    def check_context(self, context: CorpusContext) -> None:
        """Raise ContextMismatchError unless this model fitted the context."""
        self._wrapped.check_context(context)

    def encode_documents(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Documents under a context -> (n, width) float32 unit rows."""
        embed = self._wrapped.encode_documents
        return self._through_cache(texts, context, "document", lambda new: embed(new, context, show_progress))

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Queries under the context of the corpus they are for -> (n, width) float32 unit rows."""
        embed = self._wrapped.encode_queries
        return self._through_cache(texts, context, "query", lambda new: embed(new, context, show_progress))

    def _through_cache(
        self, texts: Iterable[str], context: CorpusContext, role: Role, embed: Callable[[list[str]], Embeddings]
    ) -> Embeddings:
        view = ContextualKVStore(self.store, context.fingerprint, role)
        wanted = list(checked_texts(texts))
        rows = {text: self._row(view.get(text, collection=_COLLECTION), text) for text in wanted}
        new = [text for text, row in rows.items() if row is None]
        if new:
            # Checked before they are kept: a wrong answer would be found again for ever.
            for text, vector in zip(new, checked_embeddings(embed(new), len(new), self.width), strict=True):
                rows[text] = vector
                view.put(text, {_VECTOR: vector.tolist()}, collection=_COLLECTION)
        return np.array([rows[text] for text in wanted], dtype=np.float32).reshape(len(wanted), self.width)

    def _row(self, entry: object, text: str) -> Vectors | None:
        """The vector (W,) of an entry of the store, or None where there is none."""
        if entry is None:
            return None
        kept = entry.get(_VECTOR) if isinstance(entry, Mapping) else entry
        try:
            row: Vectors = checked_embeddings([kept], 1, self.width)[0]
            return row
        except EmbeddingServiceError as error:
            raise EmbeddingServiceError(
                f"what the cache keeps for the text {text[:60]!r} is not usable: {error}; give a new cache, or remove "
                f"the entry"
            ) from error
