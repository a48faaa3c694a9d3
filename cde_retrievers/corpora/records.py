"""Rows of a file as documents, and where each came from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.errors import CorpusFileError, InvalidDocumentError, InvalidTextError, shown
from cde_retrievers.retrieval.document import Document

Markup = Literal["markdown", "text", "code"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file with columns.

    Attributes:
        file: that it is in.
        number: of the line it begins in, or of the row where a format has no lines; counted from 1.
        values: by column.
    """

    file: File
    number: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Its place, for messages."""
        return f"{self.file.path}:{self.number}"


@dataclass(frozen=True, slots=True)
class Record:
    """A document and where it was read.

    Attributes:
        place: for messages.
        document: that was read there.
        markup: what its headings are: those of Markdown, underlined titles in plain text, nothing in code.
    """

    place: str
    document: Document
    markup: Markup = "markdown"


_TEXT_COLUMNS = ("text",)
_ID_COLUMNS = ("id", "_id")
_SPREAD = "metadata"


def to_record(row: Row, reading: ReadOptions, source_format: Format) -> Record:
    """Return the row as a document; its text is empty where the row has none.

    File and row are put into the metadata, unless columns of these names are. An object in a JSON column "metadata" is
    spread, since filters name fields of the first level.

    Raises:
        CorpusFileError: a column is missing; names those there are.
        InvalidTextError: the text is not a string.
        InvalidDocumentError: the id is not a text, or a column and a field of "metadata" share a name.
    """
    required = reading.text or _TEXT_COLUMNS
    optional = ("title",) if source_format == "beir" and not reading.text else ()
    texts = [_text(row, column) for column in (*optional, *required) if column in row.values or column in required]
    # A text of one column stays exactly as it is.
    text = texts[0] if len(texts) == 1 else " ".join(part for part in texts if part).strip()
    # A BEIR folder's own column is "_id"; "id" beside it is something else.
    id_columns = reversed(_ID_COLUMNS) if source_format == "beir" else _ID_COLUMNS
    id_column = reading.id or next((name for name in id_columns if name in row.values), None)
    own = {} if source_format == "beir" else {"file": row.file.name, "row": row.number}
    metadata = {**own, **_metadata(row, reading, source_format, {*optional, *required, id_column})}
    return Record(row.place, Document(text, reading.id_prefix + _id(row, id_column, reading), metadata))


def needed_columns(reading: ReadOptions) -> frozenset[str] | None:
    """Return the columns that a document can be made of; None for all of them."""
    if reading.metadata is None:
        return None
    ids = _ID_COLUMNS if reading.id is None else (reading.id,)
    return frozenset((*(reading.text or _TEXT_COLUMNS), *ids, *reading.metadata))


def _text(row: Row, column: str) -> str:
    value = _value(row, column, "text= (--text)")
    if value is not None and not isinstance(value, str):
        raise InvalidTextError(
            f"{row.place}: column {column!r} must be a text, found a {type(value).__name__}: {shown(value)}; "
            f"name another column with text= (--text)"
        )
    return value or ""


def _id(row: Row, column: str | None, reading: ReadOptions) -> str:
    if column is None:
        return f"{row.file.name}:{row.number}"
    value = _value(row, column, "id= (--id)")
    if reading.ids_as_text and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        remedy = "read whole numbers as text with ids_as_text=True (--ids-as-text)" if is_number else "give it one"
        raise InvalidDocumentError(
            f"{row.place} has the id {shown(value)}, but an id must be a non-empty text; {remedy}, or name another "
            f"column with id= (--id)"
        )
    return value


def _metadata(row: Row, reading: ReadOptions, source_format: Format, taken: set[str | None]) -> dict[str, Any]:
    values = {column: value for column, value in row.values.items() if column not in taken}
    spread = values.get(_SPREAD)
    if source_format in ("json", "jsonl", "beir") and isinstance(spread, Mapping):
        del values[_SPREAD]
        twice = sorted(set(spread) & set(values))
        if twice:
            raise InvalidDocumentError(
                f"{row.place} has {twice[0]!r} both as a column and as a field of {_SPREAD!r}; rename one of them"
            )
        values |= spread
    if reading.metadata is not None:
        named = Row(row.file, row.number, {**row.values, **values})
        values = {column: _value(named, column, "metadata= (--metadata)") for column in reading.metadata}
    # In a table an empty cell means no value; JSON has null for that.
    is_table = source_format in ("csv", "parquet")
    return {column: value for column, value in values.items() if value is not None or not is_table}


def _value(row: Row, column: str, setting: str) -> Any:
    if column not in row.values:
        raise CorpusFileError(
            f"{row.place} has no column {column!r}, only {shown(sorted(row.values))}; name another with {setting}"
            f"{_other_delimiter(row)}"
        )
    return row.values[column]


def _other_delimiter(row: Row) -> str:
    """Return the end of a message if a table's only column looks like several with another delimiter between them."""
    name = row.file.path.name.lower()
    if len(row.values) != 1 or not (".csv" in name or ".tsv" in name):
        return ""
    [head] = row.values
    found = next((mark for mark in (";", "\t", "|", ",") if mark in head), None)
    if found is None:
        return ""
    typed = "$'\\t'" if found == "\t" else f"'{found}'"
    return f", or, if the cells are separated by {found!r}, say so with delimiter= (--delimiter {typed})"


def refuse_repeated_columns(columns: list[str], file: File) -> None:
    """Raise CorpusFileError if two columns have one name."""
    for column, count in Counter(columns).items():
        if count > 1:
            remedy = "rename one of them" if column.strip() else "name each, or remove those without a name"
            raise CorpusFileError(f"{file.path} has two columns called {shown(column)}; {remedy}")
