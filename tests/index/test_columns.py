"""Filters answered from columns: what a look at every document finds, from files, after merges, and for old indexes."""

from itertools import product

import numpy as np
import pytest
from bag_of_words import BagOfWords
from resealing import read_content, replace_listed, reseal

from cde_retrievers.errors import IndexFileError
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.index.columns import Columns, ColumnsBuilder, Values
from cde_retrievers.index.columns_file import map_columns, write_columns
from cde_retrievers.index.filters import compile_filter

LONG = "a text that is too long to be kept twice " * 10
VALUES = [0, 1, True, 1.0, -2.5, 10**40, "", "a", "ab", "ü", "1", None, [], [1, "a"], {"a": 1}, LONG, [LONG], 1e300]
WANTED = [*VALUES, False, 2, "A", float("inf"), float("nan"), [True]]
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"]
METADATA = [
    {"one": value, **({"some": VALUES[-place % len(VALUES)]} if place % 3 else {}), "year": 2000 + place % 4}
    for place, value in enumerate(VALUES * 3)
]


def twin(found, field, operator, wanted) -> bool:
    """One document against one condition."""
    if field not in found:
        return operator == "$ne"
    value = found[field]
    if operator in ("$eq", "$ne"):
        return bool(value == wanted) == (operator == "$eq")
    if operator == "$contains":
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        return isinstance(value, list) and wanted in value
    numbers = isinstance(value, int | float) and isinstance(wanted, int | float)
    texts = isinstance(value, str) and isinstance(wanted, str)
    less, equal = (value < wanted, value == wanted) if numbers or texts else (False, False)
    greater = (numbers or texts) and value > wanted
    return bool({"$gt": greater, "$gte": greater or equal, "$lt": less, "$lte": less or equal}[operator])


def conditions():
    for field, operator, wanted in product(("one", "some"), OPERATORS, WANTED):
        if operator in ("$gt", "$gte", "$lt", "$lte") and not isinstance(wanted, int | float | str):
            continue
        yield field, operator, wanted


def passing(columns, query_filter):
    return compile_filter(query_filter, {"one", "some", "year"}).passing(columns).tolist()


def check_like_the_twin(columns, metadata):
    for field, operator, wanted in conditions():
        expected = [twin(found, field, operator, wanted) for found in metadata]
        assert passing(columns, {field: {operator: wanted}}) == expected, (field, operator, wanted)


def test_every_comparison_of_every_kind_of_value():
    check_like_the_twin(Columns.of(METADATA), METADATA)


@pytest.mark.parametrize("compared", [0, 200])
def test_any_of_several_values_however_they_are_found(monkeypatch, compared):
    monkeypatch.setattr("cde_retrievers.index.conditions._COMPARED_PER_SEARCH", compared)
    columns = Columns.of(METADATA)
    for field, first, second in product(("one", "some"), WANTED, WANTED):
        expected = [any(twin(found, field, "$eq", each) for each in (first, second)) for found in METADATA]
        assert passing(columns, {field: {"$in": [first, second]}}) == expected, (field, first, second)
        assert passing(columns, {field: {"$nin": [first, second]}}) == [not each for each in expected]


def test_a_file_gives_the_columns_back(tmp_path):
    columns = Columns.of(METADATA)
    write_columns(tmp_path / "columns", columns.fields)
    fields = map_columns(tmp_path / "columns", len(METADATA))
    check_like_the_twin(Columns(len(METADATA), fields, METADATA.__getitem__), METADATA)
    assert {name: column.rows is None for name, column in fields.items()} == {"one": True, "some": False, "year": True}


def test_some_rows_of_several_columns_are_joined():
    parts = [METADATA[:7], [{}, {}], METADATA[7:], [{"new": 1}]]
    kept = [np.array([0, 3, 6]), np.array([1]), np.arange(1, len(METADATA) - 7, 2), np.array([0])]
    builder = ColumnsBuilder()
    for part, rows in zip(parts, kept, strict=True):
        builder.extend(Columns.of(part), rows)
    metadata = [part[row] for part, rows in zip(parts, kept, strict=True) for row in rows]
    joined, whole = builder.fields(), Columns.of(metadata).fields
    check_like_the_twin(Columns(len(metadata), joined, metadata.__getitem__), metadata)
    assert joined.keys() == whole.keys()
    for name, column in joined.items():
        assert len(column.values) == len(whole[name].values), "values that no row has any more are dropped"


def test_no_document_and_no_metadata(tmp_path):
    assert Columns.of([]).fields == {}
    write_columns(tmp_path / "columns", {})
    assert map_columns(tmp_path / "columns", 3) == {}
    columns = Columns(3, {}, lambda _: {})
    assert passing(columns, {"one": 3}) == [False] * 3
    assert passing(columns, {"one": {"$ne": 3}}) == [True] * 3


def test_a_comparison_looks_at_few_of_many_values(monkeypatch):
    columns = Columns.of([{"one": number} for number in range(10_000)])
    looked, values = [], type(columns.fields["one"].values)
    plain = values.__getitem__
    monkeypatch.setattr(values, "__getitem__", lambda self, place: looked.append(place) or plain(self, place))
    assert sum(passing(columns, {"one": {"$gte": 100, "$lt": 300}})) == 200
    assert sum(passing(columns, {"one": {"$in": [5, 7, 20_000]}})) == 2
    assert len(looked) < 300


@pytest.fixture
def index(tmp_path):
    documents = [Document(f"document {place}", f"d{place}", found) for place, found in enumerate(METADATA)]
    return ContextualIndex.build(documents, BagOfWords(), tmp_path / "index")


def found_in(index):
    return {
        (field, operator, str(wanted)): index.ids({field: {operator: wanted}})
        for field, operator, wanted in conditions()
    }


def without_columns(index):
    """Make it an index of a release before columns."""
    manifest = read_content(index.path / "index.json")
    for segment in manifest["segments"]:
        segment["files"] = [entry for entry in segment["files"] if entry["name"] != "columns.safetensors"]
        (index.path / "segments" / segment["name"] / "columns.safetensors").unlink()
    reseal(index.path / "index.json", manifest)
    return ContextualIndex.open(index.path, BagOfWords())


def test_an_index_without_columns_finds_the_same_and_optimize_writes_them(index):
    expected = found_in(index)
    old = without_columns(index)
    assert found_in(old) == expected
    old.optimize()
    assert list(old.path.glob("segments/*/columns.safetensors"))
    assert found_in(ContextualIndex.open(index.path, BagOfWords())) == expected


def test_changes_and_merges_keep_columns(index):
    index.delete(["d0", "d5"])
    index.upsert([Document("another document", "d7", {"one": "a", "year": 1})])
    expected = {field_operator: set(ids) for field_operator, ids in found_in(index).items()}
    assert "d7" in expected["one", "$eq", "a"]
    index.optimize()
    assert {each: set(ids) for each, ids in found_in(index).items()} == expected


PARTS = ["n", "4", "\n", "ä", '"', "\\", '",', "\\n", "x\ny", "🙂", "u00e4", "number 7", "nowhere", "aa", "[", "", '"]']


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_few_values_hold_is_found_in_their_json(part, monkeypatch):
    texts = [f"line {place} é\n" for place in range(200)]
    texts += [
        "x\ny",
        "ä",
        'a "quoted" part',
        "\\",
        "ends with \\",
        "\\n",
        "🙂",
        "u00e4",
        "aaa",
        "[",
        "number 7",
        '"',
        "",
    ]
    values = [*texts, *range(50), [*texts[-9:]], ["a", "aa"], [["aa"]], {"aa": 1}, None]
    columns = Columns.of([{"one": value} for value in values])
    few = []
    mentioning = Values.mentioning
    monkeypatch.setattr(Values, "mentioning", lambda *asked: few.append(mentioning(*asked)) or few[-1])
    assert passing(columns, {"one": {"$contains": part}}) == [
        twin({"one": value}, "one", "$contains", part) for value in values
    ]
    assert (few == [None]) == (part in ("n", "4", "\n", ""))


def test_a_filter_reads_no_document_whose_values_are_short(index, monkeypatch):
    expected = index.ids({"year": 2001})
    opened = ContextualIndex.open(index.path, BagOfWords())
    monkeypatch.setattr("cde_retrievers.index.segment.Segment.document", lambda *_: pytest.fail("a document was read"))
    assert opened.ids({"year": 2001}) == expected
    assert len(expected) == sum(found["year"] == 2001 for found in METADATA)
    assert opened.fields == {"one", "some", "year"}


def test_values_that_are_not_as_listed_are_an_error_that_names_the_file(index):
    [path] = index.path.glob("segments/*/columns.safetensors")
    expected = index.ids({"year": 2001})
    replace_listed(index.path, path.name, path.read_bytes().replace(b'"ab"', b'"a\xff"'))
    opened = ContextualIndex.open(index.path, BagOfWords())
    with pytest.raises(IndexFileError, match=r"columns\.safetensors.*salvage=True"):
        opened.ids({"one": {"$contains": "a"}})
    assert opened.ids({"year": 2001}) == expected
    opened.delete(["d0"])
    with pytest.raises(IndexFileError, match=r"columns\.safetensors.*salvage=True"):
        opened.optimize()
