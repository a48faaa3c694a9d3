"""Rows of CSV and Parquet files."""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from cde_retrievers.corpora.decoding import open_text
from cde_retrievers.corpora.reading import Reading
from cde_retrievers.corpora.record import File, Row
from cde_retrievers.errors import CorpusFileError, InvalidDocumentError, MissingDependencyError

_ROWS_AT_ONCE = 256


def csv_rows(file: File, reading: Reading) -> Iterator[Row]:
    """The rows below the file's head of column names; an empty cell is no value.

    Raises:
        CorpusFileError: the file cannot be read or decoded, its head lacks a column or names one twice, or a row has
            more or fewer cells.
        InvalidDocumentError: a cell in a column of numbers holds none.
    """
    delimiter = reading.delimiter or ("\t" if ".tsv" in file.path.name.lower() else ",")
    with open_text(file.path, reading.encoding) as stream:
        rows = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            columns = _checked_head(next(rows, []), reading, file)
            begin = rows.line_num + 1
            for cells in rows:
                if cells:
                    yield Row(file, begin, _named(columns, cells, reading.numbers, f"{file.path}:{begin}"))
                begin = rows.line_num + 1
        except csv.Error as error:
            raise CorpusFileError(
                f"{file.path}:{rows.line_num} is no CSV: {error}; repair it, or convert the file to JSONL"
            ) from error


def _checked_head(columns: list[str], reading: Reading, file: File) -> list[str]:
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise CorpusFileError(f"{file.path} has two columns called {twice[0]!r}; rename one of them")
    missing = sorted(set(reading.numbers) - set(columns))
    if missing and columns:
        raise CorpusFileError(
            f"{file.path} has no column {missing[0]!r}, it has {sorted(columns)}; name another with numbers= (--number)"
        )
    return columns


def _named(columns: list[str], cells: list[str], numbers: tuple[str, ...], place: str) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise CorpusFileError(
            f"{place} has {len(cells)} cells, but the first line names {len(columns)} columns; put quotes around "
            f"cells with the delimiter in them, or name another with delimiter= (--delimiter)"
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
        f"{place}: column {column!r} holds {cell!r}, which is no number; repair it, or leave the column out of "
        f"numbers= (--number)"
    )


def parquet_rows(file: File) -> Iterator[Row]:
    """The rows of the file, read a few at a time; dates and decimals become text.

    Raises:
        MissingDependencyError: pyarrow is not installed; names the extra.
        CorpusFileError: the file cannot be read or is no Parquet file.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "reading Parquet files needs pyarrow: pip install 'cde-retrievers[parquet]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(file.path) as table:
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(file, number, _plain(values))
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise CorpusFileError(
            f"{file.path} cannot be read as Parquet: {error}; restore it from a copy, or name its format with format= "
            f"(--format)"
        ) from error


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {column: _plain_value(value) for column, value in values.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    # What pandas writes for a number that is missing.
    return None if isinstance(value, float) and math.isnan(value) else value
