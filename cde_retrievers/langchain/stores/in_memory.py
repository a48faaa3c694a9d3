"""`InMemoryVectorStore`: the context is in the documents."""

from collections.abc import Callable, Collection
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.langchain.stores.document_stamps import DocumentStamps
from cde_retrievers.langchain.stores.interface import cosine_itself


class InMemory(DocumentStamps):
    """`InMemoryVectorStore`; its dumps contain the stamps."""

    name = "InMemory"

    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Create an empty store."""
        store: VectorStore = store_class.from_documents([], embeddings, **options)
        return store

    def metadata(self, store: Any) -> Collection[dict[str, Any]]:
        """Return the metadata of every entry."""
        return [entry["metadata"] for entry in store.store.values()]

    def stamp(self, store: Any, fingerprint: str) -> None:
        """Give every entry new metadata with the stamp."""
        for entry in store.store.values():
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

    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the identity: scores are cosines."""
        return cosine_itself
