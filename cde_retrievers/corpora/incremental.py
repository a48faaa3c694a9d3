"""Incremental updates: only new and changed documents of a source are embedded."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from cde_retrievers.retrieval.document import Document, is_same


class HoldsDocuments(Protocol):
    """The interface of a store that returns its documents by id, such as `ContextualIndex`."""

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Return the documents with these ids; None for an id that does not exist."""


class CorpusSync:
    """The new and changed documents of a source, for `ContextualIndex.upsert`.

    Args:
        documents: all of the source, with ids.
        index: to compare with.

    Attributes:
        added: new documents so far.
        replaced: changed documents so far.
        unchanged: documents so far that the index already has, and that are left out.
    """

    def __init__(self, documents: Iterable[Document], index: HoldsDocuments) -> None:
        self._documents = documents
        self._index = index
        self.added = self.replaced = self.unchanged = 0

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            [there] = self._index.get([str(document.id)])
            if there is not None and is_same(there, document):
                self.unchanged += 1
                continue
            if there is None:
                self.added += 1
            else:
                self.replaced += 1
            yield document

    def to_dict(self) -> dict[str, int]:
        """Return the three counts."""
        return {"added": self.added, "replaced": self.replaced, "unchanged": self.unchanged}
