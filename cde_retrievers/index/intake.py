"""Documents on their way into an index: checked, given ids, no id twice, and in batches."""

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import TypeVar

from cde_retrievers.errors import ConfigurationError, DuplicateIdError, InvalidDocumentError
from cde_retrievers.retrieval.document import Document, checked_document

Item = TypeVar("Item")


class DocumentValidator:
    """Checks a stream of documents as it passes.

    Args:
        taken: ids that are already in the index.
        named: documents without an id that were given one before.
        replacing: whether a document may bring an id that is taken; one without an id is never given such a one.
    """

    def __init__(self, taken: Container[str] = (), named: int = 0, *, replacing: bool = False) -> None:
        self.named = named
        self._taken = taken
        self._replacing = replacing
        self._seen: set[str] = set()

    def admit(self, documents: Iterable[Document | str]) -> Iterator[Document]:
        """The documents, each with an id.

        Raises:
            InvalidDocumentError: one cannot be stored, or `documents` is not a collection of them.
            InvalidTextError: a text is none.
            DuplicateIdError: an id comes a second time, or is taken.
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
                f"document {position} has the id {identity!r}, which an earlier document already has; give each its own"
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
    """Refuse what holds no documents, and a single one.

    Raises:
        InvalidDocumentError: that is what was given.
    """
    if isinstance(documents, str | bytes | Document | Mapping) or not isinstance(documents, Iterable):
        raise InvalidDocumentError(
            f"a collection of documents is expected, found {type(documents).__name__}; put a single one into a list"
        )


def require_rereadable(documents: Iterable[object]) -> None:
    """Refuse what can be read only once, where the context needs one pass and the embedding another.

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
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
