"""PGVector: the context is in the collection's row."""

from collections.abc import Callable
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.interface import (
    StoreKind,
    cosine_of_cosine_distance,
    cosine_of_distance,
    dictionary_filter,
)


class PGVector(StoreKind):
    """`langchain_postgres.PGVector`."""

    name = "PGVector"
    no_refit_reason = "ids are unique in its whole database, so that copies cannot have them; PGVectorStore can"

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open the collection; create it if it does not exist."""
        store: VectorStore = store_class(embeddings=embeddings, **options)
        return store

    def unreadable_reason(self, store: Any) -> str | None:
        """Return a reason for a store with an asynchronous engine: it answers only in its own event loop."""
        return "it was opened with async_mode=True; open it again without that" if store.async_mode else None

    def count(self, store: Any) -> int:
        """Return the number of documents in the collection."""
        with store._make_sync_session() as session:
            rows = session.query(store.EmbeddingStore).filter_by(collection_id=_collection(store, session).uuid)
            return int(rows.count())

    def read(self, store: Any) -> str | None:
        """Return the fingerprint in the collection's metadata, or None."""
        with store._make_sync_session() as session:
            found: str | None = (_collection(store, session).cmetadata or {}).get(CONTEXT_KEY)
            return found

    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint to the existing metadata."""
        with store._make_sync_session() as session:
            collection = _collection(store, session)
            # A new dictionary: SQLAlchemy does not notice a change inside the old one.
            collection.cmetadata = {**(collection.cmetadata or {}), CONTEXT_KEY: fingerprint}
            session.commit()

    def add(self, store: Any, documents: list[Document], options: dict[str, Any]) -> list[str]:
        """Add documents -> their ids.

        Raises:
            ConfigurationError: the collection holds vectors of another width. PGVector would take these too, and no
                search of the collection would work any more.
        """
        if isinstance(store.embeddings, ContextBoundMixin) and not store.async_mode:
            width, held = store.embeddings.embedder.width, _width(store)
            if held not in (None, width):
                raise ConfigurationError(
                    f"the collection {store.collection_name!r} holds vectors of width {held}, and the embeddings make "
                    f"ones of width {width}; use the model that it was built with, or a new collection"
                )
        return super().add(store, documents, options)

    def filter(self, fingerprint: str, also: Any, store: Any) -> dict[str, Any]:
        """Return a filter dictionary."""
        return dictionary_filter(fingerprint, also, self.name)

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function for the store's distance strategy: "l2", "cosine" or "inner", the negative product."""
        strategy = store._distance_strategy.value
        return {"l2": cosine_of_distance, "cosine": cosine_of_cosine_distance, "inner": _negated}[strategy]


def _negated(distance: float) -> float:
    return -distance


def _width(store: Any) -> int | None:
    """Return the width of a vector of the collection, or None if it is empty."""
    with store._make_sync_session() as session:
        rows = session.query(store.EmbeddingStore.embedding).filter_by(collection_id=_collection(store, session).uuid)
        first = rows.first()
        return None if first is None else len(first[0])


def _collection(store: Any, session: Any) -> Any:
    collection = store.get_collection(session)
    if collection is None:
        raise ConfigurationError(
            f"there is no collection {store.collection_name!r} in this database; call store.create_collection()"
        )
    return collection
