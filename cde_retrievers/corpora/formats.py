"""The file formats: the endings of each, and how its files are read as texts or rows."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from cde_retrievers.corpora.csv_rows import csv_rows
from cde_retrievers.corpora.decoding import MAX_CHARACTERS, Lines, open_text, parse_json, read_text, too_long
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.literal import restored
from cde_retrievers.corpora.paths import unreadable
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.corpora.readers.documents import DOCUMENTS, markup_of, read_document, require_reader
from cde_retrievers.corpora.records import Record, Row, needed_columns, refuse_repeated_columns
from cde_retrievers.errors import CDEError, CorpusFileError
from cde_retrievers.retrieval.document import Document
from cde_retrievers.util.imports import imported, require

# Of file names in lower case. A BEIR folder is told by the names of its files instead.
ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "text": DOCUMENTS,
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "parquet": (".parquet",),
    "json": (".json",),
}
BEIR_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
BEIR_QUERIES = ("queries.jsonl", "queries.jsonl.gz")
_ROWS_AT_ONCE = 256


def format_of(name: str) -> Format | None:
    """Return the format that a file's name ends in, or None."""
    return next((each for each, endings in ENDINGS.items() if name.lower().endswith(endings)), None)


def require_readers(source_format: Format, files: Iterable[File]) -> None:
    """Raise before anything is read if it needs a package that is not installed.

    Raises:
        MissingDependencyError: names the extra.
    """
    if source_format == "parquet":
        require("pyarrow", "reading Parquet files", extra="parquet")
    if source_format == "text":
        for ending in sorted({file.path.suffix.lower() for file in files}):
            require_reader(ending)


def read_rows(file: File, source_format: Format, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a file of any format but text.

    Raises:
        CorpusFileError, InvalidDocumentError, MissingDependencyError: as the reader of that format.
    """
    if source_format == "csv":
        return csv_rows(file, reading)
    if source_format == "parquet":
        return parquet_rows(file, reading)
    if source_format == "json":
        return json_array_rows(file, reading.encoding, reading.record_limit)
    return json_rows(file, reading.encoding, reading.record_limit)


def text_record(file: File, reading: ReadOptions) -> Record:
    """Return the whole file as one document, with its name as id.

    Raises:
        CorpusFileError: the file cannot be read or decoded, is damaged or too long.
        MissingDependencyError: its kind needs a package that is not installed; names the extra.
    """
    content = read_document(file, reading)
    if reading.split != "headings":
        content = restored(content)
    document = Document(content, reading.id_prefix + file.name, {"file": file.name})
    return Record(str(file.path), document, markup_of(file.name))


def parquet_rows(file: File, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows of the file, read a few at a time; dates and decimals become text.

    Raises:
        MissingDependencyError: pyarrow is not installed; names the extra.
        CorpusFileError: the file cannot be read or is not a Parquet file, names a column twice, or holds a value that
            Python does not have.
    """
    parquet = imported("pyarrow.parquet", "reading Parquet files", extra="parquet")
    number = 0
    try:
        with file.opened() as content, parquet.ParquetFile(content) as table:
            refuse_repeated_columns(table.schema_arrow.names, file)
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE):
                for values in _batch_rows(batch, f"{file.path}:{number + 1}", reading):
                    number += 1
                    yield Row(file, number, values)
    except CDEError:
        raise
    except OSError as error:
        raise unreadable(file.path, error) from error
    except Exception as error:  # of what damage does to a file, pyarrow has many kinds
        raise CorpusFileError(
            f"{file.path} cannot be read as Parquet: {error}; restore it from a copy, or name its format with format= "
            f"(--format)"
        ) from error


def _batch_rows(batch: Any, place: str, reading: ReadOptions) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch; columns that no document is made of are None."""
    needed = needed_columns(reading)
    columns = {
        name: _column(batch, name, place, reading.record_limit)
        for name in batch.schema.names
        if needed is None or name in needed
    }
    for row in range(batch.num_rows):
        yield {name: columns[name][row] if name in columns else None for name in batch.schema.names}


def _column(batch: Any, name: str, place: str, limit: int) -> list[Any]:
    try:
        values = [_plain(value) for value in batch.column(name).to_pylist()]
    except Exception as error:  # a date after the year 9999, an unknown time zone, invalid text
        kind = batch.schema.field(name).type
        raise CorpusFileError(
            f"{place} and below: column {name!r} ({kind}) holds a value that Python cannot represent: {error}; store "
            f"it as text, or choose other columns with metadata= (--metadata)"
        ) from error
    for value in values:
        if isinstance(value, str) and len(value) > limit:
            raise too_long(f"{place} and below: a text of column {name!r}", limit)
    return values


def _plain(value: Any) -> Any:
    # What pandas writes for a number that is missing.
    return None if isinstance(value, float) and math.isnan(value) else _json_value(value)


def _json_value(value: Any) -> Any:
    """Return the value with dates and decimals as text, wherever they stand."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _json_value(item) for key, item in value.items()}
    return [_json_value(item) for item in value] if isinstance(value, list) else value


def json_rows(file: File, encoding: str = "utf-8", limit: int = MAX_CHARACTERS) -> Iterator[Row]:
    """Yield the objects of the file; blank lines are skipped.

    Args:
        file: to read.
        encoding: of its text.
        limit: characters of a line.

    Raises:
        CorpusFileError: the file cannot be read or decoded, or a line is too long or no JSON object; names the line.
    """
    with open_text(file, encoding) as stream:
        lines = Lines(stream, file.path, limit)
        for line in lines:
            lines.begin_record()
            if not line.strip():
                continue
            place = f"{file.path}:{lines.number}"
            try:
                values = parse_json(line)
            except ValueError as error:
                raise CorpusFileError(f"{place} is not valid JSON: {error}; repair or remove the line") from error
            if not isinstance(values, dict):
                raise CorpusFileError(
                    f"{place} is a JSON {type(values).__name__}; every line must be an object, with a value for each "
                    f'column: {{"text": "..."}}'
                )
            yield Row(file, lines.number, values)


def json_array_rows(file: File, encoding: str, limit: int) -> Iterator[Row]:
    """Yield the objects of a file that is one JSON array, counted from 1.

    Args:
        file: to read.
        encoding: of its text.
        limit: characters of the whole file.

    Raises:
        CorpusFileError: the file cannot be read or decoded, is too long, or is not an array of objects.
    """
    text = read_text(file, encoding, limit)
    way_out = 'give an array of objects, [{"text": "..."}], or one object a line, with format="jsonl" (--format jsonl)'
    try:
        values = parse_json(text) if text.strip() else []
    except ValueError as error:
        raise CorpusFileError(f"{file.path} is not valid JSON: {error}; {way_out}") from error
    if not isinstance(values, list):
        raise CorpusFileError(f"{file.path} is a JSON {type(values).__name__}; {way_out}")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise CorpusFileError(f"{file.path}:{number} is a JSON {type(value).__name__}; {way_out}")
        yield Row(file, number, value)
