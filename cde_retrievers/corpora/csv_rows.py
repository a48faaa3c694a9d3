"""Rows of CSV and TSV files."""

import csv
import threading
from collections.abc import Iterator
from itertools import chain
from typing import Any

from cde_retrievers.corpora.decoding import Lines, open_text
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.read_options import ReadOptions
from cde_retrievers.corpora.records import Row, refuse_repeated_columns
from cde_retrievers.errors import CorpusFileError, InvalidDocumentError, shown

# The csv module has one limit for the whole process; it is raised by one thread at a time, only for rows that need it.
_CSV_LIMIT = threading.Lock()
_HIGHEST_CSV_LIMIT = 2**31 - 1


def csv_rows(file: File, reading: ReadOptions) -> Iterator[Row]:
    """Yield the rows below the header row; an empty cell means no value.

    Spreadsheets leave rows of nothing but delimiters, which are passed over, and delimiters at the end of rows, which
    are no cells where the header row has nothing there either.

    Raises:
        CorpusFileError: the file cannot be read or decoded, its head lacks a column or names one twice, or a row is too
            long or has more or fewer cells.
        InvalidDocumentError: a cell in a column of numbers holds none.
    """
    delimiter = reading.delimiter or ("\t" if ".tsv" in file.path.name.lower() else ",")
    with open_text(file, reading.encoding) as stream:
        lines = Lines(stream, file.path, reading.record_limit)
        rows = _csv_cells(lines, delimiter, reading.record_limit)
        try:
            filled = ((begin, cells) for begin, cells in rows if len(cells) == 1 or any(map(str.strip, cells)))
            _, head = next(filled, (0, []))
            columns = _checked_head(_without_empty_end(head), reading, file)
            for begin, cells in filled:
                yield Row(file, begin, _named(columns, cells, reading.numbers, f"{file.path}:{begin}"))
        except csv.Error as error:
            raise CorpusFileError(
                f"{file.path}:{lines.number} is not valid CSV: {error}; repair the row, or convert the file to JSONL"
            ) from error


def _csv_cells(lines: Lines, delimiter: str, limit: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row and the number of its first line; a cell may be as long as `limit`, a record."""
    record: list[str] = []
    rows = csv.reader(_noted(lines, record), delimiter=delimiter, strict=True)
    while True:
        lines.begin_record()
        record.clear()
        begin = lines.number + 1
        try:
            cells = next(rows, None)
        except csv.Error:  # a cell beyond the csv module's limit, or a row that is invalid under any limit
            again = csv.reader(chain(record, lines), delimiter=delimiter, strict=True)
            with _CSV_LIMIT:
                usual = csv.field_size_limit(min(limit, _HIGHEST_CSV_LIMIT))
                try:
                    cells = next(again)
                finally:
                    csv.field_size_limit(usual)
        if cells is None:
            return
        yield begin, cells


def _noted(lines: Lines, record: list[str]) -> Iterator[str]:
    """Yield the lines, and add each to the lines of the record."""
    for line in lines:
        record.append(line)
        yield line


def _without_empty_end(cells: list[str], width: int = 0) -> list[str]:
    """Return the cells without empty ones at the end, but at least `width`."""
    end = len(cells)
    while end > width and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _checked_head(columns: list[str], reading: ReadOptions, file: File) -> list[str]:
    refuse_repeated_columns(columns, file)
    missing = sorted(set(reading.numbers) - set(columns))
    if missing and columns:
        raise CorpusFileError(
            f"{file.path} has no column {missing[0]!r}, only {shown(sorted(columns))}; name another with numbers= "
            f"(--number)"
        )
    return columns


def _named(columns: list[str], cells: list[str], numbers: tuple[str, ...], place: str) -> dict[str, Any]:
    cells = _without_empty_end(cells, len(columns))
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
