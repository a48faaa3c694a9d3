"""LlamaIndex's metadata filters as filters of an index."""

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from cde_retrievers.errors import FilterError, shown
from cde_retrievers.index import Filter


def _compared(name: str) -> Callable[[str, Any], Filter]:
    return lambda field, wanted: {field: {name: wanted}}


def _contains_each(name: str) -> Callable[[str, Any], Filter]:
    def build(field: str, wanted: Any) -> Filter:
        if not isinstance(wanted, list) or not wanted:
            raise FilterError(f"ANY and ALL on {field!r} take a non-empty list of values, found {shown(wanted)}")
        return {name: [{field: {"$contains": value}} for value in wanted]}

    return build


def _contains_text(field: str, wanted: Any) -> Filter:
    if not isinstance(wanted, str):
        raise FilterError(f"TEXT_MATCH on {field!r} takes a text, found {shown(wanted)}")
    return {field: {"$contains": wanted}}


def _is_empty(field: str, _: Any) -> Filter:
    return {"$or": [{field: {"$exists": False}}, {field: {"$in": [None, "", []]}}]}


_OPERATORS: Mapping[FilterOperator, Callable[[str, Any], Filter]] = {
    FilterOperator.EQ: _compared("$eq"),
    FilterOperator.NE: _compared("$ne"),
    FilterOperator.GT: _compared("$gt"),
    FilterOperator.GTE: _compared("$gte"),
    FilterOperator.LT: _compared("$lt"),
    FilterOperator.LTE: _compared("$lte"),
    FilterOperator.IN: _compared("$in"),
    FilterOperator.NIN: _compared("$nin"),
    FilterOperator.CONTAINS: _compared("$contains"),
    FilterOperator.ANY: _contains_each("$or"),
    FilterOperator.ALL: _contains_each("$and"),
    FilterOperator.TEXT_MATCH: _contains_text,
    FilterOperator.IS_EMPTY: _is_empty,
}


def to_index_filter(filters: MetadataFilters | None) -> Filter:
    """Return a filter of an index that passes the same documents; every document if there are no filters.

    Raises:
        FilterError: an operator is not supported, or its value is of the wrong type.
    """
    if filters is None or not filters.filters:
        return {}
    parts = [_to_part(part) for part in filters.filters]
    if filters.condition is FilterCondition.OR:
        return {"$or": parts}
    # LlamaIndex's NOT: no part holds.
    return {"$not": {"$or": parts}} if filters.condition is FilterCondition.NOT else {"$and": parts}


def _to_part(part: MetadataFilter | MetadataFilters) -> Filter:
    if isinstance(part, MetadataFilters):
        return to_index_filter(part)
    build = _OPERATORS.get(part.operator)
    if build is None:
        raise FilterError(
            f"operator {part.operator.name} on {part.key!r} is not supported; use one of "
            f"{', '.join(operator.name for operator in _OPERATORS)}"
        )
    if part.value is None and part.operator is not FilterOperator.IS_EMPTY:
        raise FilterError(f"{part.operator.name} on {part.key!r} has no value; use IS_EMPTY to find missing values")
    return build(part.key, part.value)
