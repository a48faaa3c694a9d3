"""LlamaIndex's caches and document stores kept apart by context, so that no vector of another context is reused."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from llama_index.core.storage.docstore.keyval_docstore import DEFAULT_NAMESPACE
from llama_index.core.storage.kvstore.types import BaseKVStore

from cde_retrievers.binding.check import plain_stamp
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.delegating import DelegatingEmbedder
from cde_retrievers.encoder.embedder import Embedder
from cde_retrievers.errors import ConfigurationError, EmbeddingServiceError
from cde_retrievers.validation.texts import Role, checked_texts
from cde_retrievers.validation.vectors import Embeddings, Vectors, checked_embeddings

_VECTOR = "vector"


class CachedEmbedder(DelegatingEmbedder):
    """An embedder that looks texts up in a key-value store first, by context, role and text.

    LlamaIndex's own lookup knows neither the context nor whether a text is a query.

    Args:
        embedder: embeds texts that are not in the store.
        store: any key-value store of LlamaIndex; several embedders may share it.

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
        """Embed documents under a context -> (n, width) float32 unit rows."""
        embed = self._wrapped.encode_documents
        return self._through_cache(texts, context, "document", lambda new: embed(new, context, show_progress))

    def encode_queries(
        self, texts: Iterable[str], context: CorpusContext, show_progress: bool | None = None
    ) -> Embeddings:
        """Embed queries under the context of their corpus -> (n, width) float32 unit rows."""
        embed = self._wrapped.encode_queries
        return self._through_cache(texts, context, "query", lambda new: embed(new, context, show_progress))

    def _through_cache(
        self, texts: Iterable[str], context: CorpusContext, role: Role, embed: Callable[[list[str]], Embeddings]
    ) -> Embeddings:
        stamp = plain_stamp(self._wrapped) if role == "document" else None
        collection = f"embeddings/{stamp or context.fingerprint}/{role}"
        wanted = list(checked_texts(texts))
        rows = {text: self._row(self.store.get(text, collection=collection), text) for text in wanted}
        new = [text for text, row in rows.items() if row is None]
        if new:
            # Checked before they are stored: a wrong vector would be found again at every later call.
            for text, vector in zip(new, checked_embeddings(embed(new), len(new), self.width), strict=True):
                rows[text] = vector
                self.store.put(text, {_VECTOR: vector.tolist()}, collection=collection)
        return np.array([rows[text] for text in wanted], dtype=np.float32).reshape(len(wanted), self.width)

    def _row(self, entry: object, text: str) -> Vectors | None:
        """Return the vector (W,) of an entry of the store, or None if there is no entry."""
        if entry is None:
            return None
        vector = entry.get(_VECTOR) if isinstance(entry, Mapping) else entry
        try:
            row: Vectors = checked_embeddings([vector], 1, self.width)[0]
            return row
        except EmbeddingServiceError as error:
            raise EmbeddingServiceError(
                f"the cache entry of the text {text[:60]!r} is unusable: {error}; give a new cache, or remove "
                f"that entry"
            ) from error


def docstore_namespace(embed_model: ContextBoundMixin) -> str:
    """Return a document store's namespace for the context, for an `IngestionPipeline` that skips known documents.

    Under another context no document is known, so every one is embedded again:
    `SimpleDocumentStore(namespace=docstore_namespace(embed_model))`, and the same with `from_persist_path`.

    Raises:
        ContextNotFittedError: the embedding has no context.
    """
    return f"{DEFAULT_NAMESPACE}/{embed_model.stamp}"
