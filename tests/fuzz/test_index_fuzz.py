"""Hostile arguments of an index: each call works or raises an error of ours, and what fails changes nothing."""

import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from bag_of_words import BagOfWords
from fuzzed import DOCUMENTS, assert_same_content, cases, content_of, only_our_errors
from hostile import anything, texts
from hypothesis import given
from hypothesis import strategies as st
from tiny import CORPUS

from cde_retrievers.errors import CDEError
from cde_retrievers.index import ContextualIndex, Document, context_of_index
from cde_retrievers.retrieval.document import checked_document, from_line, to_line

CONTEXT = BagOfWords().fit_context(CORPUS, size=4)
VECTORS = np.eye(32, dtype=np.float32)

good_ids = st.one_of(st.none(), st.sampled_from(["d1", "new"]))
hostile_documents = st.one_of(
    st.builds(Document, texts, good_ids, st.dictionaries(texts, anything, max_size=2)),
    st.builds(Document, st.one_of(texts, anything), st.one_of(good_ids, anything), st.one_of(st.just({}), anything)),
)
# By the name of a parameter: what it may be given rightly, mixed with what it may not.
RIGHT = {
    "documents": st.lists(st.one_of(texts, st.sampled_from(DOCUMENTS), hostile_documents), max_size=3),
    "embedder": st.sampled_from([None, BagOfWords(), BagOfWords(48), BagOfWords(name="other")]),
    "context": st.sampled_from([None, CONTEXT]),
    "size": st.sampled_from([None, 2, 5]),
    "strategy": st.sampled_from(["random", "kmeans", "diverse"]),
    "seed": st.integers(-2, 2),
    "kind": st.sampled_from(["flat", "ivf", "hnsw"]),
    "dtype": st.sampled_from(["float32", "int8", "binary"]),
    "dimensions": st.sampled_from([None, 1, 20, 48]),
    "batch_size": st.sampled_from([1, 3, 2_048]),
    "show_progress": st.sampled_from([None, False]),
    "ids": st.lists(st.one_of(st.sampled_from(["d1", "d2", "lost"]), anything), max_size=3),
    "query": st.sampled_from(["red cat", ["red cat", "a dog"], []]),
    "queries": st.sampled_from([VECTORS[:2], VECTORS[:1].tolist(), VECTORS[:0]]),
    "vectors": st.sampled_from([VECTORS[:1], VECTORS[:2], VECTORS[:3].tolist(), VECTORS[:0]]),
    "k": st.integers(1, 20),
    "filter": st.one_of(
        st.none(), st.fixed_dictionaries({"row": st.one_of(anything, st.dictionaries(texts, anything, max_size=1))})
    ),
    "mode": st.sampled_from([None, "hybrid", "dense", "lexical"]),
    "texts": st.sampled_from([None, ["red cat", "a dog"], ["red cat"], []]),
    "fingerprint": st.sampled_from(["x", "0" * 64]),
    "judged": st.none(),
    "read_only": st.booleans(),
    "salvage": st.booleans(),
    "document_id": st.sampled_from(["d1", "lost"]),
    "index": st.sampled_from(["index", Path("index")]),
}
READING = {
    "documents": ("filter",),
    "ids": ("filter",),
    "get": ("ids",),
    "vectors": ("ids",),
    "search": ("query", "k", "filter", "mode"),
    "search_embedded": ("queries", "fingerprint", "k", "filter", "texts"),
    "__contains__": ("document_id",),
}
WRITING = {
    "add": ("documents", "show_progress"),
    "upsert": ("documents", "show_progress"),
    "add_embedded": ("documents", "vectors", "fingerprint"),
    "delete": ("ids",),
    "refit": ("embedder", "context", "size", "strategy", "seed", "judged", "batch_size", "show_progress"),
}
BUILD = (
    "embedder",
    "context",
    "size",
    "strategy",
    "seed",
    "kind",
    "dtype",
    "dimensions",
    "batch_size",
    "show_progress",
)


@st.composite
def calls(draw, names):
    """Arguments of which mostly one is hostile."""
    hostile = draw(st.sets(st.sampled_from(names), max_size=2))
    return {name: draw(anything if name in hostile else RIGHT[name]) for name in names}


def call_of(signatures):
    return st.sampled_from(sorted(signatures)).flatmap(lambda name: st.tuples(st.just(name), calls(signatures[name])))


def with_own_fingerprint(index, drawn):
    values = dict(drawn)
    if isinstance(values.get("fingerprint"), str) and values["fingerprint"] == "x":
        values["fingerprint"] = index.context.fingerprint
    return values


@cases(600)
@given(document=hostile_documents)
def test_what_is_stored_of_a_document_is_what_is_read(document):
    with only_our_errors():
        checked = checked_document(document, 0)
        stored = replace(checked, id=checked.id or "new")
        assert from_line(to_line(stored)) == stored


@cases(300)
@given(call=call_of(READING))
def test_what_reads_an_index(saved, call):
    name, drawn = call
    index = ContextualIndex.open(saved, BagOfWords(), read_only=True)
    with only_our_errors(*([KeyError] if name == "vectors" else [])):
        values = with_own_fingerprint(index, drawn)
        found = getattr(index, name)(
            *([values["document_id"]] if name == "__contains__" else []), **({} if name == "__contains__" else values)
        )
        if name == "documents":
            list(found)


@cases(120)
@given(call=call_of(WRITING))
def test_what_changes_an_index(saved, call):
    name, drawn = call
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copytree(saved, Path(folder) / "index"))
        before = content_of(path)
        index = ContextualIndex.open(path, BagOfWords())
        done = False
        with only_our_errors():
            getattr(index, name)(**with_own_fingerprint(index, drawn))
            done = True
        if not done:
            assert_same_content(path, before)
        seen = ContextualIndex.open(path)
        assert list(seen.documents()) == list(index.documents())
        index.optimize()
        assert list(ContextualIndex.open(path).documents()) == list(seen.documents())


@cases(50)
@given(drawn=calls(("documents", *BUILD)))
def test_what_builds_an_index(drawn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        built = None
        with only_our_errors():
            built = ContextualIndex.build(path=path, **drawn)
        if built is None:
            # Whatever was begun, the next build says what stands in its way, or finishes.
            with suppress(CDEError):
                built = ContextualIndex.build(DOCUMENTS, BagOfWords(), path)
        if built is not None:
            assert list(ContextualIndex.open(path).documents()) == list(built.documents())


@cases(100)
@given(path=st.one_of(anything, texts, texts.map(Path)), how=st.sampled_from(["open", "build", "context"]))
def test_hostile_paths(path, how):
    with tempfile.TemporaryDirectory() as folder:
        given_path = path
        if isinstance(given_path, str | Path) and not str(given_path).startswith("/"):
            joined = f"{folder}/inside/{given_path}"
            given_path = joined if isinstance(path, str) else Path(joined)
        with only_our_errors():
            if how == "open":
                ContextualIndex.open(given_path, BagOfWords())
            elif how == "context":
                context_of_index(given_path)
            elif isinstance(given_path, str | Path):
                index = ContextualIndex.build(DOCUMENTS, BagOfWords(), given_path)
                assert len(ContextualIndex.open(given_path)) == len(index)
            else:
                ContextualIndex.create(BagOfWords(), CONTEXT, given_path)


@cases(30)
@given(
    drawn=calls(("embedder", "read_only", "salvage")),
)
def test_hostile_options_of_open(saved, drawn):
    with only_our_errors():
        index = ContextualIndex.open(saved, **drawn)
        assert len(index) == len(DOCUMENTS)
