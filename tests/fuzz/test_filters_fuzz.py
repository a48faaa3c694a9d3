"""Any filter on any metadata: the same as a slow obvious twin says, and refused by both or by neither."""

from collections.abc import Collection, Mapping
from numbers import Integral, Real

import numpy as np
from fuzzed import cases
from hostile import anything
from hypothesis import example, given
from hypothesis import strategies as st

from cde_retrievers.errors import FilterError
from cde_retrievers.index import Document
from cde_retrievers.index.columns import Columns
from cde_retrievers.index.filters import compile_filter
from cde_retrievers.retrieval.document import checked_document, from_line, to_line

FIELDS = ["a", "b", "gt", "$c", ""]
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.5, 2.0, 10**400, "a", "ab", "", "$gt", "ü"]),
)
values = st.recursive(
    plain, lambda parts: st.lists(parts, max_size=2) | st.dictionaries(st.sampled_from(["a", "gt"]), parts, max_size=2)
)
metadata = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)
ORDERED = {
    "$gt": lambda found, wanted: found > wanted,
    "$gte": lambda found, wanted: found >= wanted,
    "$lt": lambda found, wanted: found < wanted,
    "$lte": lambda found, wanted: found <= wanted,
}
OPERATORS = ["$eq", "$ne", "$in", "$nin", *ORDERED, "$contains", "$exists"]
operands = st.one_of(values, values, st.lists(values, max_size=3), st.lists(values, max_size=3).map(tuple), anything)
conditions = st.dictionaries(
    st.sampled_from([*OPERATORS, *OPERATORS, "$regex", "gt", 1]), operands, min_size=1, max_size=2
)
leaves = st.dictionaries(
    st.sampled_from([*FIELDS, *FIELDS, "lost", "$or", 3]), st.one_of(operands, conditions, conditions), max_size=2
)
filters = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(parts, max_size=2), max_size=2),
        st.dictionaries(st.just("$not"), parts, min_size=1),
    ),
    max_leaves=4,
)


class RefusedError(Exception):
    """The twin's."""


def refuse(is_wrong):
    if is_wrong:
        raise RefusedError


def twin_passes(part, found) -> bool:
    """One document against one filter, rule by rule; everything is looked at, so that all that is wrong is noticed."""
    refuse(not isinstance(part, Mapping))
    return all([entry_passes(key, value, found) for key, value in part.items()])


def entry_passes(key, value, found) -> bool:
    if key in ("$and", "$or"):
        refuse(not isinstance(value, list | tuple) or not value)
        each = [twin_passes(one, found) for one in value]
        return all(each) if key == "$and" else any(each)
    if key == "$not":
        return not twin_passes(value, found)
    refuse(not isinstance(key, str) or key.startswith("$"))
    refuse(key not in ("a", "b", "gt", ""))
    names = list(value) if isinstance(value, Mapping) else []
    if any(isinstance(name, str) and name.startswith("$") for name in names):
        return all([condition_passes(key, name, wanted, found) for name, wanted in value.items()])
    refuse(names and all(isinstance(name, str) and f"${name}" in OPERATORS for name in names))
    return condition_passes(key, "$eq", value, found)


def condition_passes(field, operator, wanted, found) -> bool:
    refuse(operator not in OPERATORS)
    there = field in found
    if operator == "$exists":
        refuse(not isinstance(wanted, bool))
        return there == wanted
    if operator in ("$in", "$nin"):
        refuse(not isinstance(wanted, Collection) or isinstance(wanted, str | bytes | bytearray | Mapping))
        refuse(isinstance(wanted, np.ndarray) and wanted.ndim == 0)
        wanted = [as_json(value) for value in wanted]
        is_in = there and any(found[field] == value for value in wanted)
        return is_in if operator == "$in" else not is_in
    wanted = as_json(wanted)
    if operator in ORDERED:
        refuse(not isinstance(wanted, int | float | str))
    if not there:
        return operator == "$ne"
    value = found[field]
    if operator == "$eq":
        return value == wanted
    if operator == "$ne":
        return value != wanted
    if operator == "$contains":
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        return isinstance(value, list) and any(item == wanted for item in value)
    of_one_kind = isinstance(value, str) == isinstance(wanted, str) and isinstance(value, str | int | float)
    return of_one_kind and ORDERED[operator](value, wanted)


def as_json(value):
    if isinstance(value, Mapping):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    if value is None or isinstance(value, str | bool):
        return value
    refuse(not isinstance(value, Real))
    try:
        return int(value) if isinstance(value, Integral) else float(value)
    except OverflowError as error:
        raise RefusedError from error


def depth_of(value) -> int:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else None
    return 0 if parts is None else 1 + max(map(depth_of, parts), default=0)


def twin_of(query_filter, documents):
    try:
        refuse(depth_of(query_filter) > 64)
        return [twin_passes(query_filter, found) for found in documents]
    except (RefusedError, RecursionError):
        return "refused"


def answer_of(query_filter, documents):
    try:
        return compile_filter(query_filter, FIELDS).passing(Columns.of(documents)).tolist()
    except FilterError:
        return "refused"


@cases(600)
@given(query_filter=filters, documents=st.lists(metadata, min_size=1, max_size=4))
@example(query_filter={"a": {"$in": np.array(3)}}, documents=[{}])
@example(query_filter={"a": {"$in": b"ab"}}, documents=[{"a": 97}])
@example(query_filter={"a": {"$in": {"x": 1}}}, documents=[{"a": "x"}])
def test_filters_are_like_their_twin(query_filter, documents):
    stored = [from_line(to_line(checked_document(Document("x", "id", found), 0))).metadata for found in documents]
    assert stored == documents
    assert answer_of(query_filter, stored) == twin_of(query_filter, documents)


@cases(150)
@given(query_filter=anything)
def test_what_is_no_filter(query_filter):
    assert answer_of(query_filter, [{"a": 1}]) == twin_of(query_filter, [{"a": 1}])
