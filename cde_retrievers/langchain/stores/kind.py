"""The interface of a kind of vector store whose context can be written, read and filtered by."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.errors import ConfigurationError


class StoreKind(ABC):
    """One kind of LangChain vector store; it holds nothing, the store is given to every method.

    Attributes:
        name: what users call it.
        stamps_documents: whether the documents carry the context, because a collection has no metadata of its own.
        options_of_adding: options of the store's `from_documents` that belong to the adding, not to the opening.
    """

    name: ClassVar[str]
    stamps_documents: ClassVar[bool] = False
    options_of_adding: ClassVar[frozenset[str]] = frozenset({"ids"})

    @abstractmethod
    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """The store, with nothing added yet; `options` are those of its `from_documents`."""

    @abstractmethod
    def count(self, store: Any) -> int:
        """The number of documents in the store."""

    @abstractmethod
    def read(self, store: Any) -> str | None:
        """The fingerprint it carries, as it is stored now, or None."""

    @abstractmethod
    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint to the metadata of the store."""

    @abstractmethod
    def filter(self, fingerprint: str, also: Any, store: Any) -> Any:
        """Its own filter for documents with that stamp that pass the filter `also`, if one is given.

        `store` is a store, or None where only the kind is known.
        """

    def why_mute(self, store: Any) -> str | None:
        """Why this one store of the kind can be neither read nor written, or None if it can."""
        return None

    def batch_size(self, store: Any) -> int | None:
        """Documents that it takes at once; any number if None."""
        return None

    def add(self, store: VectorStore, documents: list[Document], options: dict[str, Any]) -> list[str]:
        """Add documents, `options["ids"]` included if there are any -> their ids."""
        size = self.batch_size(store) or max(len(documents), 1)
        given = {**options}
        ids = given.pop("ids", None)
        added: list[str] = []
        for start in range(0, len(documents), size):
            chosen = {} if ids is None else {"ids": ids[start : start + size]}
            added += store.add_documents(documents[start : start + size], **chosen, **given)
        return added


def checked_filter(also: Any, kind: type, example: str, name: str) -> Any:
    """`also`, or ConfigurationError if it is not the kind of filter that the store takes."""
    if also is not None and not isinstance(also, kind):
        raise ConfigurationError(
            f"a filter for {name} is {example}, found {type(also).__name__}; give one of the store's own"
        )
    return also
