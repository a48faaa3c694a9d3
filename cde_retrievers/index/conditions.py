"""What a filter says, as an expression that finds the rows that pass. Axes: R rows, V distinct values of a field."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cde_retrievers.index.columns import LONG, Columns, Range, Values

Mask = NDArray[np.bool_]
_COMPARED_PER_SEARCH = 200  # distinct values that are compared in the time in which one is found among a million


class Expression(Protocol):
    """A condition, or several combined."""

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        ...


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Passes what all parts pass."""

    parts: Sequence[Expression]

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        result = np.ones(columns.rows, dtype=np.bool_)
        for part in self.parts:
            result &= part.passing(columns)
        return result


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Passes what at least one part passes."""

    parts: Sequence[Expression]

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        result = np.zeros(columns.rows, dtype=np.bool_)
        for part in self.parts:
            result |= part.passing(columns)
        return result


@dataclass(frozen=True, slots=True)
class Negation:
    """Passes what its part does not pass."""

    part: Expression

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        return ~self.part.passing(columns)


@dataclass(frozen=True, slots=True)
class Exists:
    """Whether a document has the field."""

    field: str
    wanted: bool

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        column = columns.fields.get(self.field)
        result = np.full(columns.rows, not self.wanted)
        if column is not None:
            result[slice(None) if column.rows is None else column.rows] = self.wanted
        return result


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether the value of a field compares with the wanted one; documents without the field do not pass."""

    field: str
    operator: str
    wanted: Any

    def passing(self, columns: Columns) -> Mask:
        """Return which of the rows pass (R,)."""
        result = np.zeros(columns.rows, dtype=np.bool_)
        column = columns.fields.get(self.field)
        if column is None:
            return result
        found = np.append(self._accepted(column.values), False)[column.codes]  # LONG, which is -1, takes the last
        for place in np.flatnonzero(column.codes == LONG).tolist():
            row = place if column.rows is None else int(column.rows[place])
            found[place] = OPERATORS[self.operator](columns.read(row)[self.field], self.wanted)
        if column.rows is None:
            return found
        result[column.rows] = found
        return result

    def _accepted(self, values: Values) -> Mask:
        """Return which of the distinct values pass (V,)."""
        result = np.zeros(len(values), dtype=np.bool_)
        for start, stop in self._ranges(values):
            result[start:stop] = True
        holds = OPERATORS[self.operator]
        start, stop = self._unordered(values)
        few = self._few(values, start, stop)
        if few is None:
            result[start:stop] = [holds(value, self.wanted) for value in values.between(start, stop)]
        else:
            result[few] = [holds(values[place], self.wanted) for place in few]
        return result

    def _ranges(self, values: Values) -> list[Range]:
        """Return where numbers and texts lie that pass, without looking at all of them."""
        if self.operator == "$in":
            return [] if self._has_many(values) else [values.equal(value) for value in self.wanted.plain]
        (start, stop), (first, last) = values.comparable(self.wanted), values.equal(self.wanted)
        ranges = {
            "$eq": (first, last),
            "$gt": (last, stop),
            "$gte": (first, stop),
            "$lt": (start, first),
            "$lte": (start, last),
        }
        return [ranges[self.operator]] if self.operator in ranges else []

    def _unordered(self, values: Values) -> Range:
        """Return where the values lie that must be looked at one by one."""
        ordered = values.numbers + values.texts
        if self.operator == "$in" and self._has_many(values):
            return 0, len(values)
        if self.operator == "$contains":
            return values.numbers if isinstance(self.wanted, str) else ordered, len(values)
        return (ordered, len(values)) if self.operator in ("$eq", "$in") else (0, 0)

    def _few(self, values: Values, start: int, stop: int) -> list[int] | None:
        """Return the places that may pass, if they are few and the JSON tells which."""
        if self.operator == "$contains" and isinstance(self.wanted, str) and start < stop:
            return values.mentioning(self.wanted, start, stop)
        return None

    def _has_many(self, values: Values) -> bool:
        """Whether "$in" has so many values that looking at every distinct one costs less than finding each of them."""
        return _COMPARED_PER_SEARCH * len(self.wanted.plain) > len(values)


class AnyOf:
    """The values of "$in", hashed if possible, since there may be many."""

    def __init__(self, values: Collection[Any]) -> None:
        self._nested = [value for value in values if isinstance(value, list | dict)]
        self.plain = {value for value in values if not isinstance(value, list | dict)}

    def __contains__(self, found: object) -> bool:
        return found in self._nested if isinstance(found, list | dict) else found in self.plain


def _contains(found: Any, wanted: object) -> bool:
    if isinstance(found, str):
        return isinstance(wanted, str) and wanted in found
    return isinstance(found, list | tuple) and wanted in found


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(found: Any, wanted: Any) -> bool:
        both_numbers = isinstance(found, int | float) and isinstance(wanted, int | float)
        both_texts = isinstance(found, str) and isinstance(wanted, str)
        return (both_numbers or both_texts) and compare(found, wanted)

    return holds


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda found, wanted: bool(found == wanted),
    "$in": lambda found, wanted: found in wanted,
    "$gt": _ordered(lambda found, wanted: found > wanted),
    "$gte": _ordered(lambda found, wanted: found >= wanted),
    "$lt": _ordered(lambda found, wanted: found < wanted),
    "$lte": _ordered(lambda found, wanted: found <= wanted),
    "$contains": _contains,
}
"""operator -> whether a found value passes, given the wanted one"""
