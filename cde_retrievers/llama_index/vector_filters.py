"""LlamaIndex's metadata filters in the terms of an index' own filters."""

from collections.abc import Callable, Mapping
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from cde_retrievers.errors import FilterError
from cde_retrievers.index import Filter


def _compared(name: str) -> Callable[[str, Any], Filter]:
    return lambda field, wanted: {field: {name: wanted}}


def _contains_each(name: str) -> Callable[[str, Any], Filter]:
    def build(field: str, wanted: Any) -> Filter:
        if not isinstance(wanted, list) or not wanted:
            raise FilterError(f"ANY and ALL on {field!r} take a list of values that is not empty, found {wanted!r}")
        return {name: [{field: {"$contains": value}} for value in wanted]}

    return build


def _contains_text(field: str, wanted: Any) -> Filter:
    if not isinstance(wanted, str):
        raise FilterError(f"TEXT_MATCH on {field!r} takes a text, found {wanted!r}")
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
    """The same test of a document's metadata; without filters one that every document passes.

    Raises:
        FilterError: an operator has no counterpart, or its value is of the wrong kind.
    """
    if filters is None or not filters.filters:
        return {}
    parts = [_one(part) for part in filters.filters]
    if filters.condition is FilterCondition.OR:
        return {"$or": parts}
    # LlamaIndex's NOT: none of the parts holds.
    return {"$not": {"$or": parts}} if filters.condition is FilterCondition.NOT else {"$and": parts}


def _one(part: MetadataFilter | MetadataFilters) -> Filter:
    if isinstance(part, MetadataFilters):
        return to_index_filter(part)
    build = _OPERATORS.get(part.operator)
    if build is None:
        raise FilterError(
            f"operator {part.operator.name} on {part.key!r} has no counterpart here; use one of "
            f"{', '.join(operator.name for operator in _OPERATORS)}"
        )
    if part.value is None and part.operator is not FilterOperator.IS_EMPTY:
        raise FilterError(f"{part.operator.name} on {part.key!r} has no value; to find missing ones, use IS_EMPTY")
    return build(part.key, part.value)
