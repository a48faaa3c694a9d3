"""The interface of a LangChain vector store that can carry a context: to be read, written and filtered by."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Set
from typing import Any, ClassVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError
from cde_retrievers.stores.collection import Collection, Layout


class StoreKind(ABC):
    """Support for one class of LangChain vector stores. It has no state: every method is given the store.

    Attributes:
        name: the name users give.
        stamps_documents: whether the documents carry the context, because the store has no metadata of its own.
        options_of_adding: the options of the store's `from_documents` that add documents rather than open the store.
        no_refit_reason: why a store has no `collection`, if it has none.
    """

    name: ClassVar[str]
    stamps_documents: ClassVar[bool] = False
    options_of_adding: ClassVar[frozenset[str]] = frozenset({"ids"})
    no_refit_reason: ClassVar[str] = "it is in the memory of one process, and has no name that others read"

    @abstractmethod
    def open(self, store_class: Any, embeddings: Embeddings, options: dict[str, Any]) -> VectorStore:
        """Open or create the store, and add nothing; `options` are those of its `from_documents`."""

    @abstractmethod
    def count(self, store: Any) -> int:
        """Return the number of documents in the store."""

    @abstractmethod
    def read(self, store: Any) -> str | None:
        """Return the fingerprint that the store now carries, or None."""

    @abstractmethod
    def write(self, store: Any, fingerprint: str) -> None:
        """Add the fingerprint to the store's metadata."""

    @abstractmethod
    def filter(self, fingerprint: str, also: Any, store: Any) -> Any:
        """Return the store's own filter for documents with that stamp, which must also pass `also` if given.

        `store` is None where only the kind of the store is known.
        """

    @abstractmethod
    def cosine(self, store: Any) -> Callable[[float], float]:
        """Return the function from a score of the store's search to the cosine of query and document."""

    def stamps(self, store: Any) -> Set[str | None]:
        """Return all stamps that the store states; None stands for documents without one."""
        return {self.read(store)}

    def unreadable_reason(self, store: Any) -> str | None:
        """Return why this particular store cannot be read or written, or None if it can."""
        return None

    def id_of(self, document: Document) -> str | None:
        """Return the id of a document that the store returned, or None if it tells none."""
        return document.id

    def batch_size(self, store: Any) -> int | None:
        """Return the number of documents that the store takes at once, or None if there is no limit."""
        return None

    def collection(self, store: Any) -> tuple[Collection, Layout] | None:
        """Return the collection under the store and the layout of its payloads; None if it cannot be refitted."""
        return None

    def over(self, store: Any, collection: Any, embeddings: Embeddings) -> VectorStore:
        """Return a store with the same settings over another collection of this kind."""
        raise NotImplementedError

    def add(self, store: VectorStore, documents: list[Document], options: dict[str, Any]) -> list[str]:
        """Add documents, with `options["ids"]` if given -> their ids."""
        size = self.batch_size(store) or max(len(documents), 1)
        given = {**options}
        ids = given.pop("ids", None)
        added: list[str] = []
        for start in range(0, len(documents), size):
            chosen = {} if ids is None else {"ids": ids[start : start + size]}
            added += store.add_documents(documents[start : start + size], **chosen, **given)
        return added


def cosine_itself(score: float) -> float:
    """Return the score, which is the cosine."""
    return score


def cosine_of_cosine_distance(distance: float) -> float:
    """Return the cosine for 1 - cosine."""
    return 1.0 - distance


def cosine_of_squared_distance(distance: float) -> float:
    """Return the cosine of two unit vectors for the square of their distance."""
    return 1.0 - distance / 2


def cosine_of_distance(distance: float) -> float:
    """Return the cosine of two unit vectors for their distance."""
    return 1.0 - distance * distance / 2


def checked_filter(also: Any, kind: type, example: str, name: str) -> Any:
    """Return `also`, or raise ConfigurationError if the store does not take such a filter."""
    if also is not None and not isinstance(also, kind):
        raise ConfigurationError(
            f"a filter for {name} is {example}, found {type(also).__name__}; give one of the store's own"
        )
    return also


def dictionary_filter(fingerprint: str, also: Any, name: str, example: str = "a dictionary") -> dict[str, Any]:
    """Return a dictionary as filter, for the documents of a context that pass `also`; raises as `checked_filter`."""
    ours: dict[str, Any] = {CONTEXT_KEY: fingerprint}
    also = checked_filter(also, dict, example, name)
    return {"$and": [ours, also]} if also else ours
