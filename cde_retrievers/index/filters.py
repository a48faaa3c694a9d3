"""Metadata filters: a mapping, as in other vector stores, becomes an expression that finds the rows that pass.

    {"year": 2024}                                  equality
    {"year": {"$gte": 2020, "$lt": 2024}}           several conditions on a field, all of which must hold
    {"$or": [{"topic": "tea"}, {"topic": "coffee"}]}   "$and", "$or", "$not"

A document without the field passes only "$ne", "$nin", and {"$exists": False}. A field that no document has is likely
misspelt, so that it is an error, unless the filter has an "$exists" for it, which says that it may be missing:

    {"owner": {"$eq": "me", "$exists": True}}       nothing is found as long as no document has an owner

`missing="empty"`, beside the filter, says so for all its fields.

Dates and times are compared as the ISO 8601 texts that metadata hold.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

from cde_retrievers.errors import ConfigurationError, FilterError, shown
from cde_retrievers.index.columns import Columns
from cde_retrievers.index.conditions import (
    OPERATORS,
    AnyOf,
    Comparison,
    Conjunction,
    Disjunction,
    Exists,
    Expression,
    Negation,
)
from cde_retrievers.retrieval.document import MAX_DEPTH, Document, as_plain
from cde_retrievers.validation.signatures import is_iterable

Filter = Mapping[str, Any]
Missing = Literal["error", "empty"]
_KNOWN = {*OPERATORS, "$ne", "$nin", "$exists"}


def compile_filter(query_filter: Filter, known_fields: Collection[str], missing: Missing = "error") -> Expression:
    """Compile the filter to an expression that finds the rows that pass.

    Args:
        query_filter: as described in this module's docstring.
        known_fields: all metadata fields in the index.
        missing: what a field is that no document has: an error, or empty, so that every document is without it.

    Raises:
        ConfigurationError: `missing` is something else.
        FilterError: an operator is unknown, an operand is of the wrong kind, or no document has a field named in it,
            that is an error, and the filter has no "$exists" for that field.
    """
    if missing not in get_args(Missing):
        raise ConfigurationError(f"missing must be one of {list(get_args(Missing))}, found {shown(missing)}")
    if not isinstance(query_filter, Mapping):
        raise FilterError(f"a filter is a mapping such as {{'year': 2024}}, found {type(query_filter).__name__}")
    _check_depth(query_filter, 1)
    named = list(_conditions(query_filter))
    optional = {field for field, condition in named if isinstance(condition, Mapping) and "$exists" in condition}
    unknown = sorted({field for field, _ in named} - optional - set(known_fields), key=shown)
    if unknown and missing == "error":
        raise _unknown_field(unknown[0], known_fields)
    return _compile(query_filter)


def matching(
    documents: Sequence[Document], query_filter: Filter, known_fields: Collection[str], missing: Missing = "error"
) -> list[Document]:
    """Return those of some documents in memory that pass the filter; arguments and errors as in `compile_filter`."""
    expression = compile_filter(query_filter, known_fields, missing)
    passing = expression.passing(Columns.of([each.metadata for each in documents]))
    return [document for document, passes in zip(documents, passing.tolist(), strict=True) if passes]


def _unknown_field(name: object, known_fields: Collection[str]) -> FilterError:
    near = get_close_matches(name, known_fields, 1) if isinstance(name, str) else []
    guess = f"did you mean {shown(near[0])}? The" if near else "the"
    field = json.dumps(name, ensure_ascii=False) if isinstance(name, str) else '"owner"'
    return FilterError(
        f"no document has the metadata field {shown(name)}; {guess} fields of this index are {sorted(known_fields)}. "
        f"If it may be missing, give missing=\"empty\" in Python, or add '$exists' to its condition, in JSON "
        f'{{{field}: {{"$eq": "me", "$exists": true}}}} (True in Python)'
    )


def _check_depth(value: object, depth: int) -> None:
    if not isinstance(value, Mapping | list | tuple):
        return
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may be nested at most {MAX_DEPTH} levels deep, this one is deeper; flatten it")
    for part in value.values() if isinstance(value, Mapping) else value:
        _check_depth(part, depth + 1)


def _conditions(query_filter: Filter) -> Iterator[tuple[str, Any]]:
    """Yield every metadata field that the filter names with its condition."""
    for key, value in query_filter.items():
        if key in ("$and", "$or"):
            for part in _parts(key, value):
                yield from _conditions(part)
        elif key == "$not":
            yield from _conditions(_part(key, value))
        elif isinstance(key, str) and not key.startswith("$"):
            yield key, value
        else:
            raise FilterError(f"{shown(key)} is neither a field nor one of '$and', '$or', '$not'")


def _compile_entry(key: str, value: Any) -> Expression:
    if key == "$and":
        return Conjunction([_compile(part) for part in _parts(key, value)])
    if key == "$or":
        return Disjunction([_compile(part) for part in _parts(key, value)])
    if key == "$not":
        return Negation(_compile(_part(key, value)))
    if isinstance(value, Mapping) and any(isinstance(name, str) and name.startswith("$") for name in value):
        return Conjunction([_condition(key, operator, wanted) for operator, wanted in value.items()])
    if isinstance(value, Mapping) and value and all(isinstance(name, str) and f"${name}" in _KNOWN for name in value):
        raise FilterError(f"operators begin with a dollar sign: write '${next(iter(value))}' in the filter on {key!r}")
    return _condition(key, "$eq", value)


def _compile(part: Filter) -> Expression:
    return Conjunction([_compile_entry(key, value) for key, value in part.items()])


def _condition(field: str, operator: str, wanted: Any) -> Expression:
    if operator == "$exists":
        wanted = as_plain(wanted)
        if not isinstance(wanted, bool):
            raise FilterError(
                f"'$exists' on {field!r} takes true or false, in Python True or False, found {shown(wanted)}"
            )
        return Exists(field, wanted)
    if operator not in _KNOWN:
        raise FilterError(f"operator {shown(operator)} on {field!r} is unknown; use one of {sorted(_KNOWN)}")
    if operator in ("$ne", "$nin"):
        return Negation(_condition(field, "$eq" if operator == "$ne" else "$in", wanted))
    if operator == "$in":
        if not _is_list(wanted):
            raise FilterError(f"{operator!r} on {field!r} takes a list of values, found {shown(wanted)}")
        return Comparison(field, operator, AnyOf([_as_stored(value, field) for value in wanted]))
    wanted = _as_stored(wanted, field)
    if operator in ("$gt", "$gte", "$lt", "$lte") and not isinstance(wanted, str | int | float):
        raise FilterError(f"{operator!r} on {field!r} takes a number or a string, found {shown(wanted)}")
    return Comparison(field, operator, wanted)


def _is_list(wanted: object) -> bool:
    """Whether its items are what is meant: those of a text, of bytes and of a mapping are not."""
    single = isinstance(wanted, str | bytes | bytearray | Mapping)
    return is_iterable(wanted) and isinstance(wanted, Collection) and not single


def _as_stored(wanted: Any, field: str) -> Any:
    """Convert the value to its form in metadata: a tuple to a list, numpy's scalars to Python's, times to texts.

    Raises:
        FilterError: metadata cannot hold it.
    """
    if isinstance(wanted, Mapping):
        return {key: _as_stored(value, field) for key, value in wanted.items()}
    if isinstance(wanted, list | tuple):
        return [_as_stored(value, field) for value in wanted]
    wanted = as_plain(wanted)
    if wanted is None or isinstance(wanted, str | bool):
        return wanted
    if isinstance(wanted, Real) and not isinstance(wanted, np.timedelta64):  # a number to Python
        try:
            return int(wanted) if isinstance(wanted, Integral) else float(wanted)
        except OverflowError as error:
            raise FilterError(f"the filter on {field!r} compares with a number that is too large: {error}") from error
    raise FilterError(
        f"the filter on {field!r} compares with a {type(wanted).__name__}, which metadata cannot hold; give a string "
        f"or a number instead"
    )


def _parts(key: str, value: Any) -> Sequence[Filter]:
    if not isinstance(value, list | tuple) or not value:
        raise FilterError(f"{key!r} takes a non-empty list of filters, found {shown(value)}")
    return [_part(key, part) for part in value]


def _part(key: str, value: Any) -> Filter:
    if not isinstance(value, Mapping):
        raise FilterError(f"{key!r} takes filters, each of them a mapping, found {shown(value)}")
    return value
