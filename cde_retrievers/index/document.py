"""What an index holds and what a search gives back."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cde_retrievers.errors import ConfigurationError, InvalidDocumentError, InvalidTextError
from cde_retrievers.text import checked_text

Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found.

    Attributes:
        text: what is embedded and shown.
        id: unique in its index; an index gives one to a document that has none.
        metadata: what else is known, as JSON values; searches can filter by it.
    """

    text: str
    id: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that a search found.

    Attributes:
        id: of the document.
        text: of the document.
        metadata: of the document.
        score: cosine of query and document, both embedded under the index's context.
    """

    id: str
    text: str
    metadata: Metadata
    score: float


def checked_document(document: Document | str, position: int) -> Document:
    """The document, or a document made of a text, if it can be stored.

    Raises:
        InvalidDocumentError: its id is no text, or its metadata is no JSON object.
        InvalidTextError: its text is no text.
    """
    if isinstance(document, str):
        document = Document(document)
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"document {position} is a {type(document).__name__}; give a text or a cde_retrievers.index.Document"
        )
    checked_text(document.text, position)
    if document.id is not None:
        _check_id(document.id, position)
    if not isinstance(document.metadata, Mapping):
        raise InvalidDocumentError(
            f"the metadata of document {position} is a {type(document.metadata).__name__}; give a dictionary"
        )
    _check_json(document.metadata, f"document {position}: metadata")
    return document


def checked_ids(ids: object) -> list[str]:
    """The ids, if that is what they are.

    Raises:
        ConfigurationError: it is a single text or no collection, or one of them is no text.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise ConfigurationError(f"a list of ids is expected, found {ids!r}; put a single one into a list")
    known = list(ids)
    for identity in known:
        if not isinstance(identity, str):
            raise ConfigurationError(f"an id is a text, found {identity!r}; use str(id)")
    return known


def _check_id(found: object, position: int) -> None:
    if not isinstance(found, str) or not found:
        raise InvalidDocumentError(
            f"the id of document {position} must be a text that is not empty, found {found!r}; use str(id)"
        )
    try:
        checked_text(found, position)
    except InvalidTextError as error:
        raise InvalidDocumentError(f"the id of document {position} cannot be stored: {error}") from error


def _check_json(value: object, where: str) -> None:
    """Refuse what JSON would not give back as it was."""
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, str):
        _check_metadata_text(value, where)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidDocumentError(f"{where} is {value}, which JSON cannot hold; leave it out")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_json(item, where)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidDocumentError(f"{where} has the key {key!r}, which is no text; use str(key)")
            _check_metadata_text(key, where)
            _check_json(item, f"{where}[{key!r}]")
    else:
        raise InvalidDocumentError(
            f"{where} is a {type(value).__name__}, which JSON cannot hold; store a text or a number in its place"
        )


def _check_metadata_text(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(f"{where} holds a text that is not valid Unicode: {error}; repair it") from error


def to_line(document: Document) -> bytes:
    """One line of JSON for a document that has been checked and has an id."""
    content = {"id": document.id, "text": document.text, "metadata": dict(document.metadata)}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"


def from_line(line: bytes) -> Document:
    """The document of such a line."""
    content = json.loads(line)
    return Document(content["text"], content["id"], content["metadata"])
