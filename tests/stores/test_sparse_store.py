"""Sparse rows beside a store: what was put is there, whole or not at all, under one context."""

import json
import threading

import numpy as np
import pytest
from safetensors.numpy import load, save
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ContextMismatchError, IndexFileError, IndexLockedError, PathInUseError, WriteError
from cde_retrievers.sparse.analyzer import Analyzer
from cde_retrievers.sparse.bm25 import document_rows, query_rows
from cde_retrievers.sparse.term_statistics import TermStatistics
from cde_retrievers.stores.sparse_rows_file import _seal
from cde_retrievers.stores.sparse_store import SparseStore

STATISTICS = TermStatistics.of(CORPUS, Analyzer("english"))
FILE = "sparse_rows.safetensors"


def matrix(texts):
    return document_rows(texts, STATISTICS)


def scores(store, query):
    """BM25 by id."""
    rows = store.rows()
    found = np.zeros(len(rows.ids), dtype=np.float32)
    terms = query_rows([query], STATISTICS)
    rows.postings.add_scores(terms.indices, terms.data, found)
    return dict(zip(rows.ids, found.tolist(), strict=True))


def assert_holds(store, texts):
    """The slow obvious twin: the product with the rows of every text that should be there."""
    assert list(store.rows().ids) == list(texts)
    assert {identity: row for row, identity in enumerate(texts)} == store.rows().row_of
    for query in QUERIES:
        expected = (matrix(list(texts.values())) @ query_rows([query], STATISTICS).T).toarray()[:, 0]
        np.testing.assert_allclose(list(scores(store, query).values()), expected, atol=1e-6)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows"


@pytest.fixture
def store(path):
    return SparseStore(path, "context-a")


def test_rows_are_put_replaced_and_deleted(store, path):
    assert store.rows().ids == ()
    assert not path.exists()
    texts = {f"d{i}": text for i, text in enumerate(CORPUS)}
    store.put(list(texts), matrix(texts.values()))
    assert_holds(store, texts)
    changed = {"d7": "a red walrus", "new": "the bird sleeps"}
    store.put(list(changed), matrix(changed.values()))
    texts = {**{k: text for k, text in texts.items() if k != "d7"}, **changed}
    assert_holds(store, texts)
    store.delete(["d3", "unknown", "new"])
    texts = {k: text for k, text in texts.items() if k not in ("d3", "new")}
    assert_holds(store, texts)
    assert_holds(SparseStore(path, "context-a"), texts)
    store.delete(texts)
    assert_holds(SparseStore(path, "context-a"), {})
    assert sorted(entry.name for entry in path.iterdir()) == [FILE, "writer.lock"]


def test_of_several_rows_with_one_id_the_last_counts(store):
    store.put(["a", "b", "a"], matrix(["a red cat", "a bird", "a blue dog"]))
    assert_holds(store, {"a": "a blue dog", "b": "a bird"})


@pytest.mark.parametrize("identity", ["", "ä\n🙂", "\ud800", "x" * 10_000])
def test_any_id_is_kept(store, path, identity):
    store.put([identity], matrix(["a red cat"]))
    assert SparseStore(path, "context-a").rows().ids == (identity,)


def test_others_see_a_change_at_once_and_lose_none_of_theirs(store, path):
    other = SparseStore(path, "context-a")
    store.put(["a"], matrix(["a red cat"]))
    assert_holds(other, {"a": "a red cat"})
    other.put(["b"], matrix(["a bird"]))
    store.put(["c"], matrix(["a fish"]))
    assert_holds(other, {"a": "a red cat", "b": "a bird", "c": "a fish"})


def test_threads_lose_no_row(path):
    stores = [SparseStore(path, "context-a") for _ in range(2)] * 2
    threads = [
        threading.Thread(target=lambda n=n, store=store: [store.put([f"{n}-{i}"], matrix(["cat"])) for i in range(5)])
        for n, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stores[0].rows().ids) == sorted(f"{n}-{i}" for n in range(4) for i in range(5))


def test_rows_of_another_context_are_refused(store, path):
    store.put(["a"], matrix(["a red cat"]))
    with pytest.raises(ContextMismatchError, match="made under context context-a, not context-b; use the embeddings"):
        SparseStore(path, "context-b")


def test_a_directory_with_other_files_is_refused_and_left_alone(path):
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(PathInUseError, match=r"holds other files \(notes.txt\)"):
        SparseStore(path, "context-a")
    with pytest.raises(PathInUseError, match="is not a directory"):
        SparseStore(path / "notes.txt", "context-a")
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", [FILE, "writer.lock"])
def test_links_are_not_followed(store, path, tmp_path, name):
    target = tmp_path / "theirs"
    target.write_text("theirs")
    path.mkdir()
    (path / name).symlink_to(target)
    with pytest.raises(PathInUseError, match="is a link"):
        SparseStore(path, "context-a")
    with pytest.raises((PathInUseError, IndexFileError)):
        store.put(["a"], matrix(["a red cat"]))
    assert target.read_text() == "theirs"


def test_every_damage_is_found(store, path):
    store.put(["a", "b"], matrix(["a red cat", "a bird"]))
    content = (path / FILE).read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        (path / FILE).write_bytes(damaged)
        with pytest.raises(IndexFileError, match=r"damaged|format version"):
            SparseStore(path, "context-a")
    for length in (0, 7, 100, len(content) - 1):
        (path / FILE).write_bytes(content[:length])
        with pytest.raises(IndexFileError, match=r"damaged: .*; restore it from a copy, or remove it"):
            SparseStore(path, "context-a")
    (path / FILE).write_bytes(content)
    assert SparseStore(path, "context-a").rows().ids == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ids", np.frombuffer(b'["a", "a"]', dtype=np.uint8), "its ids are not a list of different strings"),
        ("ids", np.frombuffer(b'{"a": 1, "b": 2}', dtype=np.uint8), "its ids are not a list of different strings"),
        ("ids", np.frombuffer(b'["a"]', dtype=np.uint8), "it names rows outside"),
        ("ids", np.frombuffer(b"[]", dtype=np.uint8), "it names rows outside"),
        ("terms", np.zeros(3, dtype=np.int32), "bounds|terms"),
        ("weights", np.zeros(3, dtype=np.float64), "it holds the tensors"),
    ],
)
def test_a_sealed_contradiction_is_found(store, path, name, value, message):
    store.put(["a", "b"], matrix(["a red cat", "a bird"]))
    tensors = {**load((path / FILE).read_bytes()), name: value}
    metadata = {"format_version": "1", "context": "context-a", "seal": _seal("context-a", tensors)}
    (path / FILE).write_bytes(save(tensors, metadata))
    with pytest.raises(IndexFileError, match=message):
        SparseStore(path, "context-a")


def test_a_later_format_is_named(store, path):
    store.put(["a"], matrix(["a red cat"]))
    content = (path / FILE).read_bytes()
    (path / FILE).write_bytes(content.replace(b'"format_version":"1"', b'"format_version":"2"'))
    with pytest.raises(IndexFileError, match="has format version 2, but this release reads 1; update cde-retrievers"):
        SparseStore(path, "context-a")


def test_a_failed_write_leaves_the_rows_as_they_were(store, path, monkeypatch):
    store.put(["a"], matrix(["a red cat"]))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("cde_retrievers.storage.atomic.flush", full)
        for change in (lambda: store.put(["b"], matrix(["a bird"])), lambda: store.delete(["a"])):
            with pytest.raises(WriteError, match="no space left"):
                change()
    assert_holds(store, {"a": "a red cat"})
    assert_holds(SparseStore(path, "context-a"), {"a": "a red cat"})
    store.put(["b"], matrix(["a bird"]))
    assert_holds(SparseStore(path, "context-a"), {"a": "a red cat", "b": "a bird"})


def test_a_second_writer_waits_and_is_told(store, path, monkeypatch):
    monkeypatch.setattr("cde_retrievers.stores.sparse_store._WAIT", 0.0)
    other = SparseStore(path, "context-a")
    with store._lock(), pytest.raises(IndexLockedError, match="are being changed by another process; try again"):
        other.put(["a"], matrix(["a red cat"]))
    other.put(["a"], matrix(["a red cat"]))


def test_the_file_is_one_of_tensors_and_texts_alone(store, path):
    store.put(["a"], matrix(["a red cat"]))
    content = (path / FILE).read_bytes()
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert set(head) == {"__metadata__", "ids", "terms", "bounds", "rows", "weights"}
    assert head["__metadata__"]["context"] == "context-a"
