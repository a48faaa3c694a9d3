"""What no index can hold or look for is refused in words, before any work."""

import os
import sys
from enum import IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
from bag_of_words import BagOfWords
from tiny import CORPUS

from cde_retrievers.errors import (
    CDEError,
    ConfigurationError,
    FilterError,
    IndexFileError,
    InvalidDocumentError,
    InvalidTextError,
    PathInUseError,
)
from cde_retrievers.index import ContextualIndex, Document, context_of_index
from cde_retrievers.index.inspection import holds_index
from cde_retrievers.retrieval.document import MAX_DEPTH, checked_document, from_line, to_line

HUGE = 10**5_000


def name_of(value):
    """For the name of a test: not all of these values can be written out."""
    return type(value).__name__


@pytest.fixture
def index(tmp_path):
    return ContextualIndex.build(
        [Document(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)],
        BagOfWords(),
        tmp_path / "index",
    )


def nested(depth, leaf=0):
    """Metadata of so many levels."""
    value = leaf
    for level in range(depth - 1):
        value = [value] if level % 2 else {"a": value}
    return {"a": value}


def deep_in_calls(work, left=0):
    """What the work gives where there is room for few more calls."""
    left = left or sys.getrecursionlimit() - depth_of_stack() - 150
    return work() if left <= 1 else deep_in_calls(work, left - 1)


def depth_of_stack():
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_metadata_is_nested_as_deep_as_is_said_and_no_deeper(index):
    index.add([Document("a purple whale", id="whale", metadata=nested(MAX_DEPTH))])
    assert deep_in_calls(lambda: index.get(["whale"])[0].metadata) == nested(MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 900, 5_000):
        for call in (
            lambda deep: index.add([Document("x", metadata=deep)]),
            lambda deep: index.upsert([Document("x", metadata=deep)]),
            lambda deep: checked_document(Document("x", metadata=deep), 0),
        ):
            with pytest.raises(InvalidDocumentError, match=r"nested more than 64 levels deep; flatten it"):
                call(nested(depth))
    circle = {}
    circle["a"] = circle
    with pytest.raises(InvalidDocumentError, match=r"nested more than 64"):
        index.add([Document("x", metadata=circle)])


def test_what_an_earlier_release_nested_deeper_blocks_nothing(index, monkeypatch):
    deep = nested(900)
    with monkeypatch.context() as patch:
        patch.setattr("cde_retrievers.index.incoming_documents.checked_document", lambda document, _: document)
        index.add([Document("a purple whale", id="whale", metadata=deep)])

    def used():
        again = ContextualIndex.open(index.path, BagOfWords())
        (whale,) = again.get(["whale"])
        assert to_line(whale) == to_line(Document("a purple whale", "whale", deep))
        assert again.search("purple whale", k=1)[0].id == "whale"
        assert len(again.search("purple whale", k=100, filter={"row": {"$gte": 0}})) == len(CORPUS)
        for i in range(10):
            again.add([Document(f"number {i}", id=f"n{i}")])  # merges on the way
        again.delete([f"n{i}" for i in range(10)])
        again.optimize()
        again.refit(seed=again.context.seed + 1)
        assert "whale" in again

    used()
    deep_in_calls(used)


def test_a_line_that_no_index_ever_stored_is_no_document():
    for line in (b"[" * 100_000, b'{"id": "a", "text": "b", "metadata": ' + b"[" * 100_000, b"{}", b"[]", b"3", b""):
        with pytest.raises((ValueError, RecursionError)):
            from_line(line)


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


def test_metadata_comes_back_as_it_is_after_the_check(index):
    given = {
        "tuple": (1, (2, [3])),
        "view": MappingProxyType({"a": (1,)}),
        "enum": [Colour.RED, Size.LARGE],
        "numpy": np.float64(1.5),
    }
    text = type("Text", (str,), {"__str__": lambda self: "another"})("red")
    given["text"] = [text]
    wanted = {"text": ["red"], "tuple": [1, [2, [3]]], "view": {"a": [1]}, "enum": ["red", 3], "numpy": 1.5}
    document = Document("a purple whale", id="whale", metadata=given)
    checked = checked_document(document, 0)
    assert checked.metadata == wanted
    assert from_line(to_line(checked)) == checked
    assert [type(part) for part in (*checked.metadata["enum"], checked.metadata["numpy"])] == [str, int, float]
    index.add([document])
    assert index.get(["whale"]) == [checked]
    assert ContextualIndex.open(index.path, BagOfWords()).search("purple whale", k=1)[0].metadata == wanted


def test_what_the_caller_changes_later_is_not_changed_in_what_was_admitted():
    tags = ["a"]
    checked = checked_document(Document("x", metadata={"tags": tags}), 0)
    tags.append("b")
    assert checked.metadata == {"tags": ["a"]}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (Document("x", metadata={"a": HUGE}), InvalidDocumentError),
        (Document("x", metadata={"a": -HUGE}), InvalidDocumentError),
        (Document("x", metadata={"a": [{"b": HUGE}]}), InvalidDocumentError),
        (Document("x", metadata={HUGE: 1}), InvalidDocumentError),
        (Document("x", metadata={"a": Fraction(HUGE)}), InvalidDocumentError),
        (Document("x", id=HUGE), InvalidDocumentError),
        (Document(HUGE), InvalidTextError),
        (Document("x", metadata=HUGE), InvalidDocumentError),
        (HUGE, InvalidDocumentError),
    ],
    ids=name_of,
)
def test_numbers_that_python_cannot_write_are_refused(index, document, error):
    for call in (index.add, index.upsert):
        with pytest.raises(error):
            call([document])
    index.add([Document("a purple whale", id="whale", metadata={"a": 10**4_299})])
    assert index.get(["whale"])[0].metadata == {"a": 10**4_299}
    assert index.ids({"a": {"$gt": 1}}) == ["whale"]


@pytest.mark.parametrize(
    "query_filter",
    [
        {1: 0, "zz": 0},
        {HUGE: 0},
        {None: 0, 1: 0, "zz": 0},
        {"row": {"$gt": 1, HUGE: 0}},
        {"row": {"$gt": 1, 5: 0}},
        {"row": Fraction(10**400)},
        {"row": {"$in": [Fraction(10**400)]}},
        {"row": {"$exists": HUGE}},
        {"row": {"$in": HUGE}},
        {"$and": HUGE},
        {"$or": [HUGE]},
        {"$not": HUGE},
        {"row": nested(64)},
        {"$or": [{"row": {"$in": [nested(900)]}}]},
        HUGE,
    ],
    ids=name_of,
)
def test_an_impossible_filter_is_refused(index, query_filter):
    for call in (
        lambda: index.search("red cat", filter=query_filter),
        lambda: index.ids(query_filter),
        lambda: index.documents(query_filter),
    ):
        with pytest.raises(FilterError):
            call()


@pytest.mark.parametrize("wrap", [lambda f: {"$not": f}, lambda f: {"$and": [f]}, lambda f: {"$or": [f, f]}])
def test_filters_are_nested_as_deep_as_is_said_and_no_deeper(index, wrap):
    query_filter, levels = {"row": 3}, 1
    while levels + (levels_of := depth_of(wrap({}))) - 1 <= 10:
        query_filter, levels = wrap(query_filter), levels + levels_of - 1
    assert len(index.ids(query_filter)) in (1, len(CORPUS) - 1)
    for _ in range(900):
        query_filter = wrap(query_filter)
    with pytest.raises(FilterError, match=r"may be nested at most 64 levels deep"):
        index.ids(query_filter)


def depth_of(value):
    """The slow obvious twin."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max((depth_of(part) for part in parts), default=0)


def test_filters_for_huge_numbers_are_no_mistake(index):
    assert index.ids({"row": HUGE}) == []
    assert len(index.ids({"row": {"$lt": HUGE}})) == len(CORPUS)
    assert index.ids({"row": {"$in": [HUGE, 3]}}) == ["d3"]


def test_any_number_of_hits_may_be_asked_for(index):
    for k in (1_000, sys.maxsize, np.int64(1_000)):
        assert len(index.search("red cat", k=k)) == len(CORPUS)
        assert len(index.search("red cat", k=k, filter={"row": {"$lt": 4}})) == 4
    for k in (-HUGE, HUGE, 2**64, Fraction(HUGE), [], "3"):
        with pytest.raises(ConfigurationError, match=r"k must be a"):
            index.search("red cat", k=k)


@pytest.mark.parametrize("path", [5, None, b"index", [], 1.5, "a\0b", "\ud800", "x" * 300, HUGE], ids=name_of)
def test_what_is_no_path_is_refused(index, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for call in (
        lambda: ContextualIndex.open(path),
        lambda: ContextualIndex.build(CORPUS, BagOfWords(), path),
        lambda: ContextualIndex.create(BagOfWords(), index.context, path),
        lambda: context_of_index(path),
        lambda: holds_index(path),
    ):
        with pytest.raises(ConfigurationError, match=r"path"):
            call()
    assert sorted(tmp_path.iterdir()) == before


def test_a_circle_of_links_is_no_path(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    for path in (tmp_path / "one", tmp_path / "one" / "index"):
        for call in (lambda p: ContextualIndex.build(CORPUS, BagOfWords(), p), ContextualIndex.open):
            with pytest.raises(ConfigurationError, match=r"path"):
                call(path)


def test_an_index_inside_a_file_is_impossible(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "index", tmp_path / "file" / "a" / "b"):
        with pytest.raises(PathInUseError, match=r"is a file|inside a file"):
            ContextualIndex.build(CORPUS, BagOfWords(), path)
        with pytest.raises(IndexFileError):
            ContextualIndex.open(path)
        with pytest.raises(IndexFileError):
            context_of_index(path)
    assert (tmp_path / "file").read_text() == "x"


def test_an_index_is_built_where_a_link_leads(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    index = ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "link")
    assert index.path == tmp_path / "target"
    assert len(ContextualIndex.open(tmp_path / "link", BagOfWords())) == len(CORPUS)


def test_what_can_be_no_id_is_not_in_an_index(index):
    for thing in ([], {}, None, 3, b"d3", HUGE):
        assert thing not in index
    assert "d3" in index
    for ids in (5, None, "d3", [HUGE], HUGE):
        for call in (index.get, index.delete, index.vectors):
            with pytest.raises(ConfigurationError):
                call(ids)


@pytest.mark.parametrize("documents", [5, None, "text", b"text", {"a": 1}, Document("x"), object(), HUGE], ids=name_of)
def test_what_are_no_documents_is_refused(index, tmp_path, documents):
    vectors = np.zeros((1, 32), dtype=np.float32)
    for call in (
        index.add,
        index.upsert,
        lambda d: index.add_embedded(d, vectors, index.context.fingerprint),
        lambda d: ContextualIndex.build(d, BagOfWords(), tmp_path / "new"),
        lambda d: ContextualIndex.build(d, BagOfWords(), tmp_path / "new", context=index.context),
    ):
        with pytest.raises(InvalidDocumentError, match=r"a collection of documents is expected"):
            call(documents)
    assert not (tmp_path / "new").exists()


def test_embedded_documents_may_come_as_a_stream(index):
    vectors = index.embedder.encode_documents(["a purple whale"], index.context)
    ids = index.add_embedded((text for text in ["a purple whale"]), vectors, index.context.fingerprint)
    assert index.get(ids)[0].text == "a purple whale"


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": HUGE},
        {"batch_size": True},
        {"batch_size": 2.0},
        {"batch_size": "7"},
        {"seed": "1"},
        {"seed": HUGE},
        {"seed": None},
        {"size": "16"},
        {"size": HUGE},
        {"strategy": []},
        {"strategy": None},
        {"kind": []},
        {"kind": HUGE},
    ],
    ids=name_of,
)
def test_settings_of_another_type_are_refused_before_any_work(index, tmp_path, setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting)).split("_")[0]):
        ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "new", **setting)
    assert not (tmp_path / "new").exists()
    if "kind" not in setting:
        with pytest.raises(ConfigurationError):
            index.refit(**setting)


@pytest.mark.parametrize("choice", [{"size": 20}, {"strategy": "kmeans"}, {"seed": 1}, {"language": "german"}])
def test_a_choice_of_context_documents_beside_a_fitted_context_is_refused(index, tmp_path, choice):
    (name,) = choice
    for call in (
        lambda: ContextualIndex.build(CORPUS, BagOfWords(), tmp_path / "new", context=index.context, **choice),
        lambda: index.refit(context=index.context, **choice),
    ):
        with pytest.raises(ConfigurationError, match=rf"{name} says how a context is fitted, but context= is fitted"):
            call()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["$nor", "$eq", 3, None])
def test_what_is_no_field_of_a_filter_is_said(index, key):
    for query_filter in ({key: []}, {"$or": [{"row": 1}, {key: 2}]}):
        with pytest.raises(FilterError, match=r"is neither a field nor one of"):
            index.search("cat", filter=query_filter)


def test_what_are_no_judged_queries_is_refused(index):
    with pytest.raises(ConfigurationError, match=r"judged"):
        index.refit(judged={"a": "b"}, seed=1)


@pytest.mark.parametrize("value", [Fraction(10**400), HUGE], ids=name_of)
def test_vectors_of_numbers_that_are_too_large_are_refused(index, value):
    vectors = [[value] * 32]
    for call in (
        lambda: index.search_embedded(vectors, index.context.fingerprint),
        lambda: index.add_embedded(["x"], vectors, index.context.fingerprint),
    ):
        with pytest.raises(CDEError):
            call()


def test_a_directory_that_nobody_may_enter_is_said(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may enter every directory")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        with pytest.raises(CDEError):
            ContextualIndex.open(closed / "index")
        with pytest.raises(CDEError):
            ContextualIndex.build(CORPUS, BagOfWords(), closed / "index")
    finally:
        closed.chmod(0o700)
