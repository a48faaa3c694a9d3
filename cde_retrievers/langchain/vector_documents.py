"""LangChain's documents as documents of an index, and back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document

from cde_retrievers.errors import ConfigurationError, InvalidDocumentError
from cde_retrievers.index import Document as IndexDocument
from cde_retrievers.index import Hit
from cde_retrievers.validation.texts import check_collection, checked_texts


def to_index_documents(
    texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None, ids: Sequence[str | None] | None
) -> list[IndexDocument]:
    """Return documents of an index for n texts, with n metadatas and n ids if given; an id may be None.

    Raises:
        ConfigurationError: there are more or fewer metadatas or ids than texts.
        InvalidTextError: `texts` is not a collection of texts.
    """
    known = list(checked_texts(texts))
    for name, given in (("metadatas", metadatas), ("ids", ids)):
        if given is not None and len(given) != len(known):
            raise ConfigurationError(
                f"{name} must be one per text, found {len(given)} for {len(known)} texts; give one for each"
            )
    every = metadatas if metadatas is not None else [{}] * len(known)
    names = ids if ids is not None else [None] * len(known)
    return [IndexDocument(*parts) for parts in zip(known, names, every, strict=True)]


def checked_documents(documents: Iterable[Document]) -> list[Document]:
    """Return the documents as a list.

    Raises:
        InvalidTextError: `documents` is not a collection.
        InvalidDocumentError: an item is not a LangChain Document.
    """
    check_collection(documents)
    known = list(documents)
    for position, document in enumerate(known):
        if not isinstance(document, Document):
            raise InvalidDocumentError(
                f"document {position} is a {type(document).__name__}; give LangChain's Document(page_content=text)"
            )
    return known


def with_uuid(document: IndexDocument) -> IndexDocument:
    """Return the document, with a random id if it has none."""
    return document if document.id is not None else replace(document, id=str(uuid4()))


def from_index_document(found: IndexDocument | Hit) -> Document:
    """Return the LangChain document of one that an index found."""
    return Document(id=found.id, page_content=found.text, metadata=dict(found.metadata))
