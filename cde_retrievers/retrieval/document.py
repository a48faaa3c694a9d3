"""Documents of an index, and hits of a search."""

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, TypeVar

import numpy as np

from cde_retrievers.errors import ConfigurationError, InvalidDocumentError, InvalidTextError, shown
from cde_retrievers.validation.signatures import is_iterable
from cde_retrievers.validation.texts import checked_text

MAX_DEPTH = 64
"""Deepest nesting of metadata and filters."""
Metadata = Mapping[str, Any]
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")
_TOO_LARGE = 10**4_300  # Python neither reads nor writes integers of more digits


@dataclass(frozen=True, slots=True)
class Document:
    """A text to search for, with an id and metadata.

    Attributes:
        text: the text that is embedded and shown.
        id: unique in its index; an index assigns one to a document without.
        metadata: further fields as JSON values, nested at most 64 deep; searches can filter by them. A tuple becomes
            a list, a number of numpy one of Python, and a date or time its ISO 8601 text, which is what comes back:
            "2024-05-01", or "2024-05-01T12:00:00+00:00". A date and time with a time zone is converted to UTC, so that
            texts are ordered as times are.
    """

    text: str
    id: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hit:
    """A document found by a search.

    Attributes:
        id: id of the document.
        text: text of the document.
        metadata: metadata of the document.
        score: what hits are ordered by: `dense`, `lexical`, or the fusion of both (`docs/hybrid.md`).
        dense: cosine of query and document, both embedded under the index's context; None if words alone were searched.
        lexical: BM25 of the document under that context, 0 if it shares no word with the query; None if vectors alone
            were searched.
    """

    id: str
    text: str
    metadata: Metadata
    score: float
    dense: float | None = None
    lexical: float | None = None


def checked_document(document: Document | str, position: int) -> Document:
    """Return the document, or one made from a text, as it will be read back, or raise if it cannot be stored.

    Raises:
        InvalidDocumentError: its id is not a string, or its metadata is not a JSON object.
        InvalidTextError: its text is not a string.
    """
    if isinstance(document, str):
        document = Document(document)
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"document {position} is a {type(document).__name__}; give a string or a cde_retrievers.index.Document"
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
    """Return the ids as a list, or raise if they are not ids.

    Raises:
        ConfigurationError: `ids` is a single string or not a collection, or an id is not a string.
    """
    if isinstance(ids, str) or not is_iterable(ids):
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


def as_plain(value: object) -> object:
    """Return numpy's scalars as Python's, and dates and times as ISO 8601 texts, those with a time zone in UTC.

    Any other value is returned as it is; so are "not a time" and durations, which have no such form.
    """
    if isinstance(value, np.datetime64) and not np.isnat(value):
        exact = value.item()  # a whole number, if in units finer than Python's
        value = value.astype("datetime64[us]").item() if isinstance(exact, int) else exact
    if isinstance(value, np.bool_ | np.number) and not isinstance(value, np.timedelta64):
        return float(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, date | time) and value == value:  # pandas' "not a time" differs from itself
        return (_in_utc(value) if isinstance(value, datetime) else value).isoformat()
    return value


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # within a day of the first or last year
        return moment


def _as_json(value: object, where: str, depth: int) -> Any:
    """Return the value as JSON would read it back, sharing nothing that the caller may change later.

    Raises:
        InvalidDocumentError: JSON cannot represent the value.
    """
    value = as_plain(value)
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
    """Return one line of JSON for a checked document with an id."""
    content = {"id": document.id, "text": document.text, "metadata": dict(document.metadata)}
    return _on_any_stack(_dumped, content).encode("utf-8") + b"\n"


def is_same(document: Document, other: Document) -> bool:
    """Whether two documents are stored alike, so that True, 1 and 1.0 are three values; the order of fields is free."""
    return (document.id, document.text) == (other.id, other.text) and (
        _on_any_stack(_sorted_json, document.metadata) == _on_any_stack(_sorted_json, other.metadata)
    )


def from_line(line: bytes) -> Document:
    """Parse a line made by `to_line`.

    Raises:
        ValueError: it is not a document.
        RecursionError: it is nested deeper than any index ever stored.
    """
    content = _on_any_stack(json.loads, line)
    fields = content if isinstance(content, dict) else {}
    text, identity, metadata = fields.get("text"), fields.get("id"), fields.get("metadata")
    if not isinstance(text, str) or not isinstance(identity, str) or not isinstance(metadata, dict):
        raise ValueError("a text, an id and metadata are needed")
    return Document(text, identity, metadata)


def _dumped(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _sorted_json(metadata: Metadata) -> str:
    return json.dumps(dict(metadata), sort_keys=True)


def _on_any_stack(work: Callable[[_Given], _Made], given: _Given) -> _Made:
    """Run the work on `given`, independently of the caller's stack depth.

    Earlier releases stored metadata as deep as Python could nest it. A new thread has the stack for that.
    """
    try:
        return work(given)
    except RecursionError:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work, given).result()
