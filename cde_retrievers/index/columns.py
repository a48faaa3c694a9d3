"""Metadata by field: the distinct values of each, sorted, and which of them every row has.

A filter looks at each distinct value at most once, however many rows have it. Values are kept as JSON, so that what is
read back is what the document holds: True, 1 and 1.0 are three values.

Axes: R rows of a segment, N rows that have a field, V distinct values.
"""

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.retrieval.document import Metadata

LONG = -1
"""Code of a value that is too long to be kept a second time, and is read from its document."""
_MAX_LENGTH = 256  # characters of JSON
_READ_PER_VALUE = 20  # values that `Values.between` reads in the time of one by itself
_encoded = json.JSONEncoder(separators=(",", ":")).encode
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """Distinct values of a field: numbers and booleans in order, then texts in order, then all others.

    Attributes:
        json: the values as JSON in ASCII, each followed by a comma.
        ends: where each ends, with its comma (V,).
        numbers: how many are numbers.
        texts: how many are texts.
    """

    json: NDArray[np.uint8]
    ends: NDArray[np.int64]
    numbers: int
    texts: int

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: int) -> Any:
        return json.loads(self.as_json(place))

    def as_json(self, place: int) -> bytes:
        """Return a value as JSON."""
        start = int(self.ends[place - 1]) if place else 0
        return self.json[start : int(self.ends[place]) - 1].tobytes()

    def between(self, start: int, stop: int) -> list[Any]:
        """Return the values from one place up to another; much faster than one by one."""
        if start == stop:
            return []
        first = int(self.ends[start - 1]) if start else 0
        found: list[Any] = json.loads(b"[" + self.json[first : int(self.ends[stop - 1]) - 1].tobytes() + b"]")
        if len(found) != stop - start:
            raise ValueError(f"there are {len(found)} values instead of {stop - start}")
        return found

    def mentioning(self, text: str, start: int, stop: int) -> list[int] | None:
        """Return a few places from `start` up to another, with all whose value holds a text; None if they are many.

        A value's JSON holds the JSON of every part of it, but also letters of escapes, such as the n of a line break.
        """
        first = int(self.ends[start - 1]) if start else 0
        searched, wanted = self.json[first : int(self.ends[stop - 1])].tobytes(), _encoded(text)[1:-1].encode("ascii")
        found, position = [], searched.find(wanted)
        while position >= 0:
            found.append(first + position)
            if len(found) * _READ_PER_VALUE > stop - start:
                return None
            position = searched.find(wanted, position + 1)
        places: list[int] = np.unique(np.searchsorted(self.ends, found, side="right")).tolist()
        return places

    def comparable(self, wanted: object) -> Range:
        """Return where the values lie that can be ordered with this one: from one place up to another."""
        if isinstance(wanted, str):
            return self.numbers, self.numbers + self.texts
        if isinstance(wanted, int | float) and wanted == wanted:
            return 0, self.numbers
        return 0, 0

    def equal(self, wanted: object) -> Range:
        """Return where the numbers or texts lie that equal this value."""
        start, stop = self.comparable(wanted)
        first = bisect_left(self, wanted, start, stop)
        return first, bisect_right(self, wanted, first, stop)


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A metadata field.

    Attributes:
        codes: place among `values` for each row that has the field (N,) int32, or `LONG`.
        rows: these rows, ascending (N,) int32; None if all have it.
        values: the distinct values.
    """

    codes: NDArray[np.int32]
    rows: NDArray[np.int32] | None
    values: Values


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Metadata of the documents in R rows, by field.

    Attributes:
        rows: number of rows, R.
        fields: every field that a row has.
        read: returns the metadata of a row, for values that are too long to be kept here.
    """

    rows: int
    fields: Mapping[str, Column]
    read: Callable[[int], Metadata]

    @classmethod
    def of(cls, documents: Sequence[Metadata]) -> Self:
        """Arrange the metadata of documents that are in memory."""
        builder = ColumnsBuilder()
        for metadata in documents:
            builder.add(metadata)
        return cls(len(documents), builder.fields(), documents.__getitem__)


class ColumnsBuilder:
    """Collects metadata row by row, or from rows of other columns."""

    def __init__(self) -> None:
        self._rows = 0
        self._fields: dict[str, _Field] = {}

    def add(self, metadata: Metadata) -> None:
        """Append a row."""
        for name, value in metadata.items():
            field = self._field(name)
            field.rows.append(self._rows)
            field.codes.append(field.code(_as_json(value)))
        self._rows += 1

    def extend(self, columns: Columns, rows: NDArray[np.int64]) -> None:
        """Append some rows of other columns, in ascending order."""
        places = np.full(columns.rows, -1, dtype=np.int64)
        places[rows] = np.arange(self._rows, self._rows + len(rows))
        for name, column in columns.fields.items():
            here = places if column.rows is None else places[column.rows]
            kept = here >= 0
            if kept.any():
                self._field(name).extend(here[kept], column.codes[kept], column.values)
        self._rows += len(rows)

    def fields(self) -> dict[str, Column]:
        """Return the columns of all rows until now."""
        return {name: field.column(self._rows) for name, field in self._fields.items()}

    def _field(self, name: str) -> "_Field":
        return self._fields.setdefault(name, _Field())


class _Field:
    """One field of a builder; its codes are in the order in which values were first seen."""

    def __init__(self) -> None:
        self.rows, self.codes = array("i"), array("i")
        self._codes: dict[bytes, int] = {}

    def code(self, value: bytes | None) -> int:
        return LONG if value is None else self._codes.setdefault(value, len(self._codes))

    def extend(self, rows: NDArray[np.int64], codes: NDArray[np.int32], values: Values) -> None:
        values.between(0, len(values))  # what is no JSON must not be copied
        used, inverse = np.unique(codes, return_inverse=True)
        known = [self.code(None if place == LONG else values.as_json(place)) for place in used.tolist()]
        self.rows.frombytes(rows.astype(np.intc).tobytes())
        self.codes.frombytes(np.array(known, dtype=np.intc)[inverse].tobytes())

    def column(self, rows: int) -> Column:
        known = list(self._codes)
        found = json.loads(b"[" + b",".join(known) + b"]")
        kinds = [_kind(value) for value in found]
        order = sorted(range(len(known)), key=lambda code: (kinds[code], 0 if kinds[code] == _OTHER else found[code]))
        renumbered = np.full(len(order) + 1, LONG, dtype=np.int32)  # the last is what LONG itself becomes
        renumbered[order] = np.arange(len(order), dtype=np.int32)
        texts = [known[code] + b"," for code in order]
        values = Values(
            np.frombuffer(b"".join(texts), dtype=np.uint8),
            np.fromiter(accumulate(map(len, texts)), dtype=np.int64, count=len(texts)),
            kinds.count(_NUMBER),
            kinds.count(_TEXT),
        )
        codes = renumbered[np.frombuffer(self.codes, dtype=np.intc)]
        listed = None if len(self.rows) == rows else np.frombuffer(self.rows, dtype=np.intc).astype(np.int32)
        return Column(codes, listed, values)


_NUMBER, _TEXT, _OTHER = 0, 1, 2


def _kind(value: object) -> int:
    if isinstance(value, str):
        return _TEXT
    return _NUMBER if isinstance(value, int) or (isinstance(value, float) and not math.isnan(value)) else _OTHER


def _as_json(value: object) -> bytes | None:
    """Return the value as JSON; None if it is too long, or nested deeper than what is taken in now."""
    if isinstance(value, str) and len(value) > _MAX_LENGTH:
        return None
    try:
        text = _encoded(value)
    except RecursionError:
        return None
    return text.encode("ascii") if len(text) <= _MAX_LENGTH else None
