"""Stores that have no metadata of their own: the context is in every document's."""

from abc import abstractmethod
from collections.abc import Collection, Set
from typing import Any

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain.stores.interface import StoreKind


class DocumentStamps(StoreKind):
    """A kind of store whose documents are all in memory, and carry the context."""

    stamps_documents = True

    @abstractmethod
    def metadata(self, store: Any) -> Collection[dict[str, Any]]:
        """Return the metadata of every document."""

    @abstractmethod
    def stamp(self, store: Any, fingerprint: str) -> None:
        """Give every document new metadata with the stamp; the present ones may be those of the user's own document."""

    def count(self, store: Any) -> int:
        """Return the number of documents in the store."""
        return len(self.metadata(store))

    def stamps(self, store: Any) -> Set[str | None]:
        """Return the stamps of all documents."""
        return {metadata.get(CONTEXT_KEY) for metadata in self.metadata(store)}

    def read(self, store: Any) -> str | None:
        """Return the stamp that all documents share, or None if they have none.

        Raises:
            ContextMismatchError: there are several stamps, or only some documents have one.
        """
        found = self.stamps(store)
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
        if self.count(store) == 0:
            raise ConfigurationError(
                f"a store of kind {self.name} carries its context in its documents, and it has no documents yet; add "
                f"stamped(documents, embeddings) to it"
            )
        self.stamp(store, fingerprint)
