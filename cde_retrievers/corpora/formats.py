"""The file formats: the endings of each, and how its files are read as texts or rows."""

import csv
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from cde_retrievers.corpora.decoding import MAX_CHARACTERS, Lines, open_text, parse_json, read_text, too_long
from cde_retrievers.corpora.paths import refuse_special, unreadable
from cde_retrievers.corpora.read_options import Format, ReadOptions
from cde_retrievers.corpora.records import File, Record, Row, needed_columns
from cde_retrievers.errors import CDEError, CorpusFileError, InvalidDocumentError, shown
from cde_retrievers.retrieval.document import Document
from cde_retrievers.util.imports import imported

# Of file names in lower case. A BEIR folder is told by the names of its files instead.
ENDINGS: Mapping[Format, tuple[str, ...]] = {
    "text": (".txt", ".text", ".md", ".markdown", ".rst"),
    "jsonl": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz"),
    "parquet": (".parquet",),
}
BEIR_CORPUS = ("corpus.jsonl", "corpus.jsonl.gz")
BEIR_QUERIES = ("queries.jsonl", "queries.jsonl.gz")
_ROWS_AT_ONCE = 256
# The csv module has one limit for the whole process; it is raised for a row at a time, by one thread at a time.
_CSV_LIMIT = threading.Lock()
_HIGHEST_CSV_LIMIT = 2**31 - 1


def format_of(name: str) -> Format | None:
    """Return the format that a file's name ends in, or None."""
    return next((each for each, endings in ENDINGS.items() if name.lower().endswith(endings)), None)


def read_rows(file: File, source_format: Format, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows of a file of any format but text.

    Raises:
        CorpusFileError, InvalidDocumentError, MissingDependencyError: as the reader of that format.
    """
    if source_format == "csv":
        return csv_rows(file, reading)
    if source_format == "parquet":
        return parquet_rows(file, reading)
    return json_rows(file, reading.encoding, reading.record_limit)


def text_record(file: File, reading: ReadOptions) -> Record:
    """Return the whole file as one document, with its name as id.

    Raises:
        CorpusFileError: the file cannot be read or decoded, or is too long.
    """
    content = read_text(file.path, reading.encoding, reading.record_limit)
    return Record(str(file.path), Document(content, reading.id_prefix + file.name, {"file": file.name}))


def csv_rows(file: File, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows below the header row; an empty cell means no value.

    Raises:
        CorpusFileError: the file cannot be read or decoded, its head lacks a column or names one twice, or a row is too
            long or has more or fewer cells.
        InvalidDocumentError: a cell in a column of numbers holds none.
    """
    delimiter = reading.delimiter or ("\t" if ".tsv" in file.path.name.lower() else ",")
    with open_text(file.path, reading.encoding) as stream:
        lines = Lines(stream, file.path, reading.record_limit)
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            columns = _checked_head(_next_cells(rows, reading.record_limit) or [], reading, file)
            begin = rows.line_num + 1
            lines.begin_record()
            while (cells := _next_cells(rows, reading.record_limit)) is not None:
                if cells:
                    yield Row(file, begin, _named(columns, cells, reading.numbers, f"{file.path}:{begin}"))
                begin = rows.line_num + 1
                lines.begin_record()
        except csv.Error as error:
            raise CorpusFileError(
                f"{file.path}:{rows.line_num} is not valid CSV: {error}; repair the row, or convert the file to JSONL"
            ) from error


def _next_cells(rows: Iterator[list[str]], limit: int) -> list[str] | None:
    """Return the next row's cells, or None at the end. A cell may be as long as a record, which `Lines` limits."""
    with _CSV_LIMIT:
        before = csv.field_size_limit(min(limit, _HIGHEST_CSV_LIMIT))
        try:
            return next(rows, None)
        finally:
            csv.field_size_limit(before)


def _checked_head(columns: list[str], reading: ReadOptions, file: File) -> list[str]:
    _refuse_twice(columns, file)
    missing = sorted(set(reading.numbers) - set(columns))
    if missing and columns:
        raise CorpusFileError(
            f"{file.path} has no column {missing[0]!r}, only {shown(sorted(columns))}; name another with numbers= "
            f"(--number)"
        )
    return columns


def _refuse_twice(columns: list[str], file: File) -> None:
    for column, count in Counter(columns).items():
        if count > 1:
            raise CorpusFileError(f"{file.path} has two columns called {shown(column)}; rename one of them")


def _named(columns: list[str], cells: list[str], numbers: tuple[str, ...], place: str) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise CorpusFileError(
            f"{place} has {len(cells)} cells, but the first line names {len(columns)} columns; quote "
            f"cells that contain the delimiter, or name another with delimiter= (--delimiter)"
        )
    values: dict[str, Any] = dict.fromkeys(columns)
    for column, cell in zip(columns, cells, strict=True):
        if cell:
            values[column] = _number(cell, column, place) if column in numbers else cell
    return values


def _number(cell: str, column: str, place: str) -> int | float:
    for read in (int, float):
        try:
            return read(cell)
        except ValueError:
            continue
    raise InvalidDocumentError(
        f"{place}: column {column!r} holds {shown(cell)}, which is not a number; correct it, or leave the column out "
        f"of numbers= (--number)"
    )


def parquet_rows(file: File, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows of the file, read a few at a time; dates and decimals become text.

    Raises:
        MissingDependencyError: pyarrow is not installed; names the extra.
        CorpusFileError: the file cannot be read or is not a Parquet file, names a column twice, or holds a value that
            Python does not have.
    """
    parquet = imported("pyarrow.parquet", "reading Parquet files", extra="parquet")
    refuse_special(file.path)
    number = 0
    try:
        with parquet.ParquetFile(file.path) as table:
            _refuse_twice(table.schema_arrow.names, file)
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
    with open_text(file.path, encoding) as stream:
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
