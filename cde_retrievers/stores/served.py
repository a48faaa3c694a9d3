"""A framework's vector store, as its refit needs it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from cde_retrievers.binding.mixin import ContextBoundMixin
from cde_retrievers.stores.collection import Collection, Layout

Store = TypeVar("Store")
Item = TypeVar("Item")
Embeddings = TypeVar("Embeddings", bound=ContextBoundMixin)


class ServedStore(ABC, Generic[Store, Item, Embeddings]):
    """A store over a collection. `Item` is the framework's document or node."""

    collection: Collection
    layout: Layout

    @abstractmethod
    def fit(self, embeddings: Embeddings, texts: Iterable[str]) -> Embeddings:
        """Return a copy of the embeddings whose context is fitted on the texts; these keep theirs."""

    @abstractmethod
    def over(self, collection: Collection, embeddings: Embeddings) -> Store:
        """Return a store with the same settings over another collection of the database, under other embeddings."""

    @abstractmethod
    def text_of(self, item: Item) -> str:
        """Return the text of an item that is embedded."""

    @abstractmethod
    def add(self, store: Store, items: Sequence[Item], embeddings: Embeddings) -> None:
        """Embed items, and add them to a store under their ids, with a stamp."""
