"""Chroma: the context is in the collection's metadata."""

from collections.abc import Callable
from copy import copy
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.langchain.stores.interface import (
    StoreKind,
    cosine_of_cosine_distance,
    cosine_of_squared_distance,
    dictionary_filter,
)
from cde_retrievers.langchain.stores.layout import DocumentLayout
from cde_retrievers.stores.chroma import METADATA, TEXT, ChromaCollection


class Chroma(StoreKind):
    """`langchain_chroma.Chroma`, in memory, on disk or on a server."""

    name = "Chroma"

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open the collection; create it if it does not exist. Chroma's `from_documents` needs documents."""
        store: VectorStore = store_class(embedding_function=embeddings, **options)
        return store

    def count(self, store: Any) -> int:
        """Return the number of documents in the collection."""
        return int(store._collection.count())

    def batch_size(self, store: Any) -> int | None:
        """Return the most documents Chroma takes at once, about 5,000; `add_documents` ignores that limit."""
        return int(store._client.get_max_batch_size())

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the collection's metadata, or None."""
        found: str | None = _metadata(store).get(CONTEXT_KEY)
        return found

    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint to the existing metadata, which Chroma would replace."""
        collection, metadata = store._collection, {**_metadata(store), CONTEXT_KEY: fingerprint}
        if "hnsw:space" not in metadata:
            collection.modify(metadata=metadata)
            return
        # `modify` refuses this key, so that the distance cannot change. Here it stays the same, and without it an old
        # server would fall back to another distance. So this sends the same request without that check.
        collection._client._modify(
            id=collection.id, new_metadata=metadata, tenant=collection.tenant, database=collection.database
        )

    def collection(self, store: Any) -> tuple[ChromaCollection, DocumentLayout]:
        """Return the collection of the store's name."""
        return ChromaCollection(store._collection, store._collection_name), DocumentLayout(TEXT, METADATA)

    def over(self, store: Any, collection: ChromaCollection, embeddings: Embeddings) -> VectorStore:
        """Return a store over another collection."""
        twin: Any = copy(store)
        twin._chroma_collection, twin._collection_name = collection.opened(), collection.name
        twin._embedding_function = embeddings
        opened: VectorStore = twin
        return opened

    def filter(self, fingerprint: str, also: Any, store: Any) -> dict[str, Any]:
        """Return a `where` dictionary."""
        return dictionary_filter(fingerprint, also, self.name)

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the collection's distance: "l2", which is squared, "cosine" or "ip"."""
        configuration = store._collection.configuration_json  # without loading embedding functions
        settings = configuration.get("hnsw") or configuration.get("spann") or {}
        return cosine_of_squared_distance if settings.get("space", "l2") == "l2" else cosine_of_cosine_distance


def _metadata(store: Any) -> dict[str, Any]:
    """Return the present metadata; the copy in the store object may be outdated."""
    return dict(store._client.get_collection(store._collection.name).metadata or {})
