"""An embeddings cache of LlamaIndex keyed by context and role."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.validation.texts import checked_texts
from cde_retrievers.validation.vectors import Embeddings, Vectors, checked_embeddings

Role = Literal["query", "document"]
Entry = dict[str, Any]


class ContextualKVStore(BaseKVStore):
    """A view of a key-value store: every collection is one of its own per context and role.

    Args:
        store: keeps the entries; any number of views may share it.
        fingerprint: of the context.
        role: what the texts are that the entries belong to; a text's query and document vectors differ.
    """

    def __init__(self, store: BaseKVStore, fingerprint: str, role: Role) -> None:
        self._store = store
        self._suffix = f"/{fingerprint}/{role}"

    def put(self, key: str, val: Entry, collection: str = DEFAULT_COLLECTION) -> None:
        """Keep `val` under `key`."""
        self._store.put(key, val, collection=collection + self._suffix)

    async def aput(self, key: str, val: Entry, collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`."""
        await self._store.aput(key, val, collection=collection + self._suffix)

    def put_all(
        self,
        kv_pairs: list[tuple[str, Entry]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Keep several pairs of key and entry."""
        self._store.put_all(kv_pairs, collection=collection + self._suffix, batch_size=batch_size)

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, Entry]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As `put_all`."""
        await self._store.aput_all(kv_pairs, collection=collection + self._suffix, batch_size=batch_size)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> Entry | None:
        """The entry kept under `key` for this context and role, or None."""
        return self._store.get(key, collection=collection + self._suffix)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> Entry | None:
        """As `get`."""
        return await self._store.aget(key, collection=collection + self._suffix)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Entry]:
        """Everything that is kept for this context and role."""
        return self._store.get_all(collection=collection + self._suffix)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Entry]:
        """As `get_all`."""
        return await self._store.aget_all(collection=collection + self._suffix)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget what is kept under `key` for this context and role; whether there was anything."""
        return self._store.delete(key, collection=collection + self._suffix)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return await self._store.adelete(key, collection=collection + self._suffix)


_COLLECTION = "embeddings"
_VECTOR = "vector"


class CachedEmbedder(DelegatingEmbedder):
    """Looks a text up where LlamaIndex cannot: here every call says its context, and whether texts are queries.

    Args:
        embedder: embeds what the store does not have yet.
        store: any key-value store of LlamaIndex; it may be shared between embedders.

    Raises:
        ConfigurationError: `store` is not a key-value store.
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
        """The vector (W,) of an entry of the store, or None where it does not exist."""
        if entry is None:
            return None
        kept = entry.get(_VECTOR) if isinstance(entry, Mapping) else entry
        try:
            row: Vectors = checked_embeddings([kept], 1, self.width)[0]
            return row
        except EmbeddingServiceError as error:
            raise EmbeddingServiceError(
                f"the cache entry of the text {text[:60]!r} is unusable: {error}; give a new cache, or remove "
                f"that entry"
            ) from error
