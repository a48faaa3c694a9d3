"""`InMemoryVectorStore`: the context is in the documents, since the store has no metadata."""

from collections.abc import Callable
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain.stores.interface import StoreKind


class InMemory(StoreKind):
    """`InMemoryVectorStore`; its dumps contain the stamps."""

    name = "InMemory"
    stamps_documents = True

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Create an empty store."""
        store: VectorStore = store_class.from_documents([], embeddings, **options)
        return store

    def count(self, store: Any) -> int:
        """Return the number of documents in the store."""
        return len(store.store)

    def read(self, store: Any) -> str | None:
        """Return the stamp that all documents share, or None if they have none.

        Raises:
            ContextMismatchError: there are several stamps, or only some documents have one.
        """
        found = {entry["metadata"].get(CONTEXT_KEY) for entry in store.store.values()}
        if len(found) > 1:
            named = ", ".join(sorted("none" if stamp is None else stamp for stamp in found))
            raise ContextMismatchError(
                f"the documents of this store state that they were embedded under {len(found)} different contexts "
                f"({named}), so it cannot be searched under one; build it again from stamped(documents, embeddings), "
                f"or, if you know that one context made them all, use write_context(store, embeddings, replace=True)"
            )
        return next(iter(found), None)

    def write(self, store: Any, fingerprint: str) -> None:
        """Stamp every document.

        Raises:
            ConfigurationError: the store has no documents.
        """
        if not store.store:
            raise ConfigurationError(
                "an InMemoryVectorStore carries its context in its documents, and it has no documents yet; add "
                "stamped(documents, embeddings) to it"
            )
        for entry in store.store.values():
            # A new dictionary, since the present one may be the metadata of the user's own document.
            entry["metadata"] = {**entry["metadata"], CONTEXT_KEY: fingerprint}

    def filter(self, fingerprint: str, also: Any, store: Any) -> Callable[[Document], bool]:
        """Return a function from a document to whether it passes."""
        if also is not None and not callable(also):
            raise ConfigurationError(
                f"a filter for InMemoryVectorStore is a function of a document, found {type(also).__name__}; "
                f"give one such as lambda document: document.metadata['year'] > 2000"
            )

        def passes(document: Document) -> bool:
            return document.metadata.get(CONTEXT_KEY) == fingerprint and (also is None or bool(also(document)))

        return passes
