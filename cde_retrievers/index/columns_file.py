"""The columns of a segment's metadata in one file. Axes: R rows, N rows that have a field, V distinct values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from cde_retrievers.index.columns import LONG, Column, Values
from cde_retrievers.index.tensors_file import map_tensors, write_tensors

_TYPES = {"ends": "I64", "codes": "I32", "rows": "I32", "fields": "U8", "values": "U8"}
_Count = Annotated[int, Field(ge=0)]


class _FieldEntry(BaseModel):
    """What is listed of a field; its parts of the tensors follow those of the fields before it.

    Attributes:
        name: name of the field.
        found: number of rows that have it, N.
        everywhere: whether all rows do, so that they are not listed.
        bytes: length of its values as JSON.
        values: number of distinct values, V.
        numbers: how many are numbers.
        texts: how many are texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str
    found: _Count
    everywhere: bool
    bytes: _Count
    values: _Count
    numbers: _Count
    texts: _Count


_ENTRIES = TypeAdapter(list[_FieldEntry])


def write_columns(path: Path, fields: Mapping[str, Column]) -> None:
    """Write columns to a new file; the caller syncs it."""
    entries = [
        _FieldEntry(
            name=name,
            found=len(column.codes),
            everywhere=column.rows is None,
            bytes=len(column.values.json),
            values=len(column.values),
            numbers=column.values.numbers,
            texts=column.values.texts,
        )
        for name, column in fields.items()
    ]
    listed = json.dumps([entry.model_dump() for entry in entries]).encode("ascii")
    columns = list(fields.values())
    tensors = {
        "ends": _joined([column.values.ends for column in columns], np.int64),
        "codes": _joined([column.codes for column in columns], np.int32),
        "rows": _joined([column.rows for column in columns if column.rows is not None], np.int32),
        "fields": np.frombuffer(listed, dtype=np.uint8),
        "values": _joined([column.values.json for column in columns], np.uint8),
    }
    write_tensors(path, tensors)


def map_columns(path: Path, rows: int) -> dict[str, Column]:
    """Map the columns of that many rows.

    Raises:
        ValueError: the file holds something else.
    """
    tensors = map_tensors(path, _TYPES)
    entries = _ENTRIES.validate_json(tensors["fields"].tobytes())  # ValidationError is a ValueError
    if len({entry.name for entry in entries}) < len(entries):
        raise ValueError("it lists a field twice")
    parts = _Parts(tensors)
    columns = {entry.name: _column(entry, parts, rows) for entry in entries}
    parts.check_all_taken()
    return columns


class _Parts:
    """Takes tensors apart from their beginnings."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors
        self._taken = dict.fromkeys(("ends", "codes", "rows", "values"), 0)

    def next(self, name: str, count: int) -> NDArray[Any]:
        start = self._taken[name]
        self._taken[name] += count
        part = self._tensors[name][start : start + count]
        if len(part) < count:
            raise ValueError(f"it has fewer {name} than it lists")
        return part

    def check_all_taken(self) -> None:
        if any(len(self._tensors[name]) != taken for name, taken in self._taken.items()):
            raise ValueError("it has more values than it lists")


def _column(entry: _FieldEntry, parts: _Parts, rows: int) -> Column:
    codes = parts.next("codes", entry.found)
    listed = None if entry.everywhere else parts.next("rows", entry.found)
    ends = parts.next("ends", entry.values)
    values = Values(parts.next("values", entry.bytes), ends, entry.numbers, entry.texts)
    if listed is None and entry.found != rows:
        raise ValueError(f"its field {entry.name!r} is not one of {rows} rows")
    if listed is not None and not _ascending(listed, -1, rows):
        raise ValueError(f"the rows of its field {entry.name!r} are not in order")
    if not _ascending(ends, 0, entry.bytes + 1) or entry.bytes != (ends[-1] if len(ends) else 0):
        raise ValueError(f"the values of its field {entry.name!r} do not end one after the other")
    if entry.numbers + entry.texts > entry.values:
        raise ValueError(f"its field {entry.name!r} has fewer values than numbers and texts")
    if len(codes) and not (codes.min() >= LONG and codes.max() < entry.values):
        raise ValueError(f"its field {entry.name!r} has values that it does not list")
    return Column(codes, listed, values)


def _ascending(found: NDArray[Any], above: int, below: int) -> bool:
    """Whether the numbers ascend, all between these two."""
    return len(found) == 0 or bool(found[0] > above and found[-1] < below and (np.diff(found) > 0).all())


def _joined(parts: list[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts])
