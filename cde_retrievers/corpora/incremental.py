"""Only what is new: so that bringing a source in again costs no more than what changed in it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from cde_retrievers.retrieval.document import Document


class HoldsDocuments(Protocol):
    """The interface of a store that returns its documents by id, such as `ContextualIndex`."""

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents with these ids, None for those that do not exist."""

    def ids(self) -> list[str]:
        """The id of every document."""


class CorpusSync:
    """Those of the documents that an index does not have just as they are, for `ContextualIndex.upsert`.

    Args:
        documents: all with ids.
        index: where they may be already.

    Attributes:
        added: documents so far that the index did not have.
        replaced: those that it had otherwise.
        unchanged: those that were left out, since it has them.
    """

    def __init__(self, documents: Iterable[Document], index: HoldsDocuments) -> None:
        self._documents = documents
        self._index = index
        self.added = self.replaced = self.unchanged = 0
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[Document]:
        for document in self._documents:
            self._seen.add(str(document.id))
            [there] = self._index.get([str(document.id)])
            if there == document:
                self.unchanged += 1
                continue
            if there is None:
                self.added += 1
            else:
                self.replaced += 1
            yield document

    def vanished(self, prefix: str = "") -> list[str]:
        """Ids in the index that begin with `prefix` and that no document had, once all of them were read."""
        return [
            identity for identity in self._index.ids() if identity.startswith(prefix) and identity not in self._seen
        ]
