"""LlamaIndex's filters pass the same documents in an index as in LlamaIndex."""

import pytest
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from cde_retrievers.errors import FilterError
from cde_retrievers.index import Document
from cde_retrievers.index.filters import matching
from cde_retrievers.llama_index.vector_search import to_index_filter

DOCUMENTS = {
    "a": {"year": 2020, "topic": "green tea", "tags": ["cup", "leaf"]},
    "b": {"year": 2024, "topic": "coffee", "tags": ["cup"]},
    "c": {"year": 2024.5, "topic": "", "tags": []},
    "d": {"year": None, "topic": "tea", "tags": ["leaf", "pot"]},
    "e": {"topic": "water", "tags": ["pot"]},
}
FIELDS = {"year", "topic", "tags"}


def one(key, operator, value):
    return MetadataFilter(key=key, operator=operator, value=value)


def passing(filters):
    documents = [Document("text", name, metadata) for name, metadata in DOCUMENTS.items()]
    return {document.id for document in matching(documents, to_index_filter(filters), FIELDS)}


def passing_in_llama_index(filters):
    passes = build_metadata_filter_fn(DOCUMENTS.__getitem__, filters)
    return {name for name in DOCUMENTS if passes(name)}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (one("year", FilterOperator.EQ, 2024), {"b"}),
        (one("topic", FilterOperator.EQ, "tea"), {"d"}),
        (one("year", FilterOperator.NE, 2024), {"a", "c", "d", "e"}),
        (one("year", FilterOperator.GT, 2020), {"b", "c"}),
        (one("year", FilterOperator.GTE, 2024), {"b", "c"}),
        (one("year", FilterOperator.LT, 2024.5), {"a", "b"}),
        (one("year", FilterOperator.LTE, 2020), {"a"}),
        (one("year", FilterOperator.IN, [2020, 2024]), {"a", "b"}),
        (one("year", FilterOperator.NIN, [2020, 2024]), {"c", "d", "e"}),
        (one("tags", FilterOperator.CONTAINS, "leaf"), {"a", "d"}),
        (one("tags", FilterOperator.ANY, ["leaf", "pot"]), {"a", "d", "e"}),
        (one("tags", FilterOperator.ALL, ["leaf", "pot"]), {"d"}),
        (one("topic", FilterOperator.TEXT_MATCH, "tea"), {"a", "d"}),
        (one("topic", FilterOperator.IS_EMPTY, None), {"c"}),
        (one("tags", FilterOperator.IS_EMPTY, None), {"c"}),
        (one("year", FilterOperator.IS_EMPTY, None), {"d", "e"}),
    ],
    ids=lambda value: f"{value.key} {value.operator.name}" if isinstance(value, MetadataFilter) else "",
)
def test_every_operator_passes_what_it_passes_in_llama_index(part, expected):
    filters = MetadataFilters(filters=[part])
    assert passing(filters) == expected
    assert passing_in_llama_index(filters) == expected


@pytest.mark.parametrize("condition", [*FilterCondition, None])
def test_every_condition_passes_what_it_passes_in_llama_index(condition):
    filters = MetadataFilters(
        filters=[one("year", FilterOperator.GTE, 2024), one("tags", FilterOperator.CONTAINS, "cup")],
        condition=condition,
    )
    expected = {FilterCondition.OR: {"a", "b", "c"}, FilterCondition.NOT: {"d", "e"}}.get(condition, {"b"})
    assert passing(filters) == expected
    assert passing_in_llama_index(filters) == expected


def test_conditions_nest():
    cups = MetadataFilters(filters=[one("tags", FilterOperator.CONTAINS, "cup")], condition=FilterCondition.NOT)
    either = MetadataFilters(
        filters=[one("topic", FilterOperator.EQ, "water"), one("year", FilterOperator.GT, 2024)],
        condition=FilterCondition.OR,
    )
    assert passing(MetadataFilters(filters=[cups, either])) == {"c", "e"}
    assert passing(MetadataFilters(filters=[cups, either], condition=FilterCondition.NOT)) == {"a", "b"}


def test_no_filters_let_everything_pass():
    assert passing(None) == passing(MetadataFilters(filters=[])) == set(DOCUMENTS)
    nested = MetadataFilters(filters=[MetadataFilters(filters=[]), one("year", FilterOperator.EQ, 2024)])
    assert passing(nested) == {"b"}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            one("topic", FilterOperator.TEXT_MATCH_INSENSITIVE, "Tea"),
            r"TEXT_MATCH_INSENSITIVE on 'topic'.*use one of EQ",
        ),
        (one("topic", FilterOperator.TEXT_MATCH, 3), "TEXT_MATCH on 'topic' takes a text, found 3"),
        (one("tags", FilterOperator.ANY, "cup"), "take a non-empty list of values, found 'cup'"),
        (one("tags", FilterOperator.ALL, []), r"take a non-empty list of values, found \[\]"),
        (one("year", FilterOperator.IN, "2024"), r"'\$in' on 'year' takes a list"),
        (one("year", FilterOperator.GT, [2020]), r"'\$gt' on 'year' takes a number or a string"),
        (one("year", FilterOperator.EQ, None), "EQ on 'year' has no value; .*IS_EMPTY"),
        (one("yaer", FilterOperator.EQ, 2024), "no document has the metadata field 'yaer'"),
    ],
)
def test_unsupported_operators_are_refused_by_name(part, message):
    with pytest.raises(FilterError, match=message):
        passing(MetadataFilters(filters=[MetadataFilters(filters=[part])]))
