"""Qdrant: the context is in the collection's metadata, which servers and clients support from 1.16 on."""

from collections.abc import Callable
from copy import copy
from inspect import signature
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.interface import StoreKind, checked_filter, cosine_itself, cosine_of_distance
from cde_retrievers.langchain.stores.layout import DocumentLayout
from cde_retrievers.stores.qdrant import QdrantCollection
from cde_retrievers.util.imports import imported


class Qdrant(StoreKind):
    """`langchain_qdrant.QdrantVectorStore`, in memory, on disk or on a server."""

    name = "Qdrant"
    options_of_adding = frozenset({"ids", "batch_size"})

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open the collection; create it if it does not exist."""
        store: VectorStore = store_class.from_documents([], embeddings, **options)
        return store

    def count(self, store: Any) -> int:
        """Return the number of documents in the collection."""
        return int(store.client.count(store.collection_name).count)

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the collection's metadata, or None."""
        # Older clients have no such attribute.
        metadata = getattr(store.client.get_collection(store.collection_name).config, "metadata", None) or {}
        found: str | None = metadata.get(CONTEXT_KEY)
        return found

    def write(self, store: Any, fingerprint: str) -> None:
        """Set the fingerprint; Qdrant keeps the other metadata.

        Raises:
            ConfigurationError: the installed client does not support collection metadata.
        """
        if "metadata" not in signature(store.client.update_collection).parameters:
            raise ConfigurationError(
                "the installed qdrant-client does not support collection metadata, in which a Qdrant store carries its "
                "context; pip install --upgrade 'qdrant-client>=1.16'"
            )
        store.client.update_collection(store.collection_name, metadata={CONTEXT_KEY: fingerprint})

    def id_of(self, document: Document) -> str | None:
        """Return the id of the document's point, which LangChain keeps in the metadata."""
        found = document.metadata.get("_id")
        return document.id if found is None else str(found)

    def collection(self, store: Any) -> tuple[QdrantCollection, DocumentLayout]:
        """Return the collection or alias, in whose payloads text and metadata have names of the user's choice."""
        layout = DocumentLayout(store.content_payload_key, store.metadata_payload_key)
        return QdrantCollection(store.client, store.collection_name, store.vector_name), layout

    def over(self, store: Any, collection: QdrantCollection, embeddings: Embeddings) -> VectorStore:
        """Return a store over another collection."""
        twin: Any = copy(store)
        twin.collection_name, twin._embeddings = collection.name, embeddings
        opened: VectorStore = twin
        return opened

    def filter(self, fingerprint: str, also: Any, store: Any) -> Any:
        """Return a `qdrant_client.models.Filter` on the payload in which LangChain keeps metadata."""
        models = imported("qdrant_client.models", "a filter for Qdrant", package="langchain-qdrant")
        payload = store.metadata_payload_key if store is not None else "metadata"
        ours = models.FieldCondition(key=f"{payload}.{CONTEXT_KEY}", match=models.MatchValue(value=fingerprint))
        also = checked_filter(also, models.Filter, "a qdrant_client.models.Filter", self.name)
        return models.Filter(must=[ours] if also is None else [ours, also])

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the store's distance: Euclidean, or else the cosine or the product itself."""
        return cosine_of_distance if store.distance.value == "Euclid" else cosine_itself
