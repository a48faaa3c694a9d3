"""Intake of documents into an index: checks, ids, duplicates and batches."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import TypeVar

from cde_retrievers.errors import ConfigurationError, DuplicateIdError, InvalidDocumentError
from cde_retrievers.retrieval.document import Document, checked_document
from cde_retrievers.validation.signatures import is_iterable

Item = TypeVar("Item")


class DocumentValidator:
    """Checks a stream of documents as it passes.

    Args:
        taken: ids already in the index.
        named: number of documents that were assigned an id before.
        replacing: whether a document may have an id that is taken; an id that is taken is never assigned.
    """

    def __init__(self, taken: Container[str] = (), named: int = 0, *, replacing: bool = False) -> None:
        self.named = named
        self._taken = taken
        self._replacing = replacing
        self._seen: set[str] = set()

    def admit(self, documents: Iterable[Document | str]) -> Iterator[Document]:
        """Yield the documents, each with an id.

        Raises:
            InvalidDocumentError: a document cannot be stored, or `documents` is not a collection.
            InvalidTextError: a text is not a string of valid Unicode.
            DuplicateIdError: an id occurs twice or is taken.
        """
        require_collection(documents)
        for position, document in enumerate(documents):
            checked = checked_document(document, position)
            if checked.id is None:
                checked = Document(checked.text, self._new_id(), checked.metadata)
            identity = str(checked.id)
            self._refuse_known(identity, position)
            self._seen.add(identity)
            yield checked

    def _refuse_known(self, identity: str, position: int) -> None:
        if identity in self._seen:
            raise DuplicateIdError(
                f"document {position} has the id {identity!r}, which an earlier document already has, or was assigned "
                f"since it had none; give each its own"
            )
        if not self._replacing and identity in self._taken:
            raise DuplicateIdError(
                f"document {position} has the id {identity!r}, which a document in the index already has; use upsert() "
                f"to replace what is there"
            )

    def _new_id(self) -> str:
        for number in count(self.named):
            identity = f"doc-{number}"
            if identity not in self._seen and identity not in self._taken:
                self.named = number + 1
                return identity
        raise AssertionError("count() has no end")


def require_collection(documents: object) -> None:
    """Raise InvalidDocumentError unless `documents` is a collection, and not a single document."""
    if isinstance(documents, str | bytes | Document | Mapping) or not is_iterable(documents):
        raise InvalidDocumentError(
            f"a collection of documents is expected, found {type(documents).__name__}; put a single one into a list"
        )


def require_rereadable(documents: Iterable[object]) -> None:
    """Refuse documents that can be read only once: fitting the context and embedding need a pass each.

    Raises:
        ConfigurationError: it is an iterator, such as a generator.
    """
    if iter(documents) is documents:
        raise ConfigurationError(
            f"the context is fitted in one pass over the documents and they are embedded in a second, but a "
            f"{type(documents).__name__} can be read only once; give a list, an object whose __iter__ starts again, or "
            f"a fitted context="
        )


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
