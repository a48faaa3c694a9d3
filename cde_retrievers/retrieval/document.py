"""What an index holds and what a search gives back."""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cde_retrievers.errors import ConfigurationError, InvalidDocumentError, InvalidTextError, shown
from cde_retrievers.validation.texts import checked_text

MAX_DEPTH = 64
"""Metadata is nested no deeper, and neither are filters."""
Metadata = Mapping[str, Any]
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")
_TOO_LARGE = 10**4_300  # Python neither reads nor writes whole numbers of more digits


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found.

    Attributes:
        text: what is embedded and shown.
        id: unique in its index; an index gives one to a document that has none.
        metadata: what else is known, as JSON values, nested at most 64 deep; searches can filter by it. A tuple becomes
            a list.
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
    """The document, or a document made of a text, as it will be read again, if it can be stored.

    Raises:
        InvalidDocumentError: its id is no text, or its metadata is no JSON object.
        InvalidTextError: its text is no text.
    """
    if isinstance(document, str):
        document = Document(document)
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"document {position} is a {type(document).__name__}; give a string or a cde_retrievers.index.Document"
        )
    if not isinstance(document.text, str):
        raise InvalidTextError(
            f"text {position} must be a string, found {shown(document.text)}; give the Document a string"
        )
    checked_text(document.text, position)
    if document.id is not None:
        _check_id(document.id, position)
    if not isinstance(document.metadata, Mapping):
        raise InvalidDocumentError(
            f"the metadata of document {position} is a {type(document.metadata).__name__}; give a dictionary"
        )
    metadata = _as_json(document.metadata, f"document {position}: metadata", 1)
    return Document(document.text, document.id, metadata)


def checked_ids(ids: object) -> list[str]:
    """The ids, if that is what they are.

    Raises:
        ConfigurationError: it is a single text or no collection, or one of them is no text.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise ConfigurationError(f"a list of ids is expected, found {shown(ids)}; put a single one into a list")
    known = list(ids)
    for identity in known:
        if not isinstance(identity, str):
            raise ConfigurationError(f"an id must be a string, found {shown(identity)}; use str(id)")
    return known


def _check_id(found: object, position: int) -> None:
    if not isinstance(found, str) or not found:
        raise InvalidDocumentError(
            f"the id of document {position} must be a non-empty string, found {shown(found)}; use str(id)"
        )
    try:
        checked_text(found, position)
    except InvalidTextError as error:
        raise InvalidDocumentError(f"the id of document {position} cannot be stored: {error}") from error


def _as_json(value: object, where: str, depth: int) -> Any:
    """The value as JSON gives it back, with nothing in it that the caller may change later.

    Raises:
        InvalidDocumentError: JSON would not give it back.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_metadata_text(value, where)
        return str.__str__(value)
    if isinstance(value, int):
        if not -_TOO_LARGE < value < _TOO_LARGE:
            raise InvalidDocumentError(f"{where} is a number of more than 4,300 digits; store it as a string")
        return int.__int__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidDocumentError(f"{where} is {value}, which JSON cannot hold; leave it out")
        return float.__float__(value)
    if not isinstance(value, list | tuple | Mapping):
        raise InvalidDocumentError(
            f"{where} is a {type(value).__name__}, which JSON cannot hold; store a string or a number instead"
        )
    if depth > MAX_DEPTH:
        raise InvalidDocumentError(f"{where[:100]}... is nested more than {MAX_DEPTH} levels deep; flatten it")
    if isinstance(value, list | tuple):
        return [_as_json(item, where, depth + 1) for item in value]
    return {_key(key, where): _as_json(item, f"{where}[{shown(key)}]", depth + 1) for key, item in value.items()}


def _key(found: object, where: str) -> str:
    if not isinstance(found, str):
        raise InvalidDocumentError(f"{where} has the key {shown(found)}, which is not a string; use str(key)")
    _check_metadata_text(found, where)
    return str.__str__(found)


def _check_metadata_text(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidDocumentError(f"{where} holds a string that is not valid Unicode: {error}; repair it") from error


def to_line(document: Document) -> bytes:
    """One line of JSON for a document that has been checked and has an id."""
    content = {"id": document.id, "text": document.text, "metadata": dict(document.metadata)}
    return _on_any_stack(_dumped, content).encode("utf-8") + b"\n"


def from_line(line: bytes) -> Document:
    """The document of such a line.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested as deep as no index ever stored one.
    """
    content = _on_any_stack(json.loads, line)
    fields = content if isinstance(content, dict) else {}
    text, identity, metadata = fields.get("text"), fields.get("id"), fields.get("metadata")
    if not isinstance(text, str) or not isinstance(identity, str) or not isinstance(metadata, dict):
        raise ValueError("a text, an id and metadata are needed")
    return Document(text, identity, metadata)


def _dumped(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _on_any_stack(work: Callable[[_Given], _Made], given: _Given) -> _Made:
    """What the work makes of it, however deep the caller is in calls of its own.

    Earlier releases stored metadata as deep as Python could nest it. In a thread there is room for that.
    """
    try:
        return work(given)
    except RecursionError:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work, given).result()
