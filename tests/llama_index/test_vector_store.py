"""A vector store under the operations of LlamaIndex: searches, changes, paths, persistence."""

import copy
import dataclasses
import errno
import gc
import os
import pickle
import shutil

import numpy as np
import pytest
from approximate import approximate_from
from llama_index.core import (
    Document,
    StorageContext,
    VectorStoreIndex,
    load_index_from_storage,
)
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import (
    ConfigurationError,
    ContextNotFittedError,
    FilterError,
    IndexFileError,
    IndexLockedError,
    PathInUseError,
    ReadOnlyError,
    WriteError,
)
from cde_retrievers.index import ContextualIndex
from cde_retrievers.index import Document as IndexDocument
from cde_retrievers.index.lock import writer_lock
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore

CATS = MetadataFilters(filters=[MetadataFilter(key="animal", value="cat")])


def index_over(store, nodes):
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(nodes, storage_context=storage, embed_model=store.embed_model)


@pytest.fixture
def store(fitted):
    return ContextualVectorStore(fitted)


@pytest.fixture
def index(store, nodes):
    return index_over(store, nodes)


@pytest.fixture(scope="module")
def filled(session_embedding, session_nodes):
    """An index that no test changes."""
    return index_over(ContextualVectorStore(session_embedding), session_nodes)


@pytest.fixture(scope="module")
def simple(session_embedding, session_nodes):
    """The same nodes in LlamaIndex's own store, which compares every vector in Python."""
    return VectorStoreIndex(session_nodes, embed_model=session_embedding)


def found_by(index, query, **options):
    hits = index.as_retriever(**{"similarity_top_k": 5, **options}).retrieve(query)
    return [hit.node_id for hit in hits], [hit.score for hit in hits]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"similarity_top_k": 1_000},
        {"filters": CATS},
        {"vector_store_query_mode": "mmr"},
        {"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 0.1}},
        {"vector_store_query_mode": "mmr", "vector_store_kwargs": {"mmr_threshold": 0.1}, "filters": CATS},
    ],
)
def test_it_finds_what_the_simple_store_finds(filled, simple, query, options):
    ids, scores = found_by(filled, query, **options)
    expected_ids, expected_scores = found_by(simple, query, **options)
    assert ids == expected_ids
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


def test_mmr_chooses_among_as_many_as_it_is_told(filled):
    nearest, _ = found_by(filled, QUERIES[0])
    options = {"mmr_threshold": 0.1, "mmr_prefetch_k": 5}
    diverse, _ = found_by(filled, QUERIES[0], vector_store_query_mode="mmr", vector_store_kwargs=options)
    assert sorted(diverse) == sorted(nearest)
    assert diverse != nearest
    wider, _ = found_by(filled, QUERIES[0], vector_store_query_mode="mmr", vector_store_kwargs={"mmr_threshold": 0.1})
    assert sorted(wider) != sorted(nearest)


async def test_async_finds_the_same(filled):
    retriever = filled.as_retriever(similarity_top_k=3, filters=CATS)
    assert await retriever.aretrieve(QUERIES[0]) == retriever.retrieve(QUERIES[0])


def test_it_needs_no_document_store(store, index, fitted):
    again = VectorStoreIndex.from_vector_store(store, embed_model=fitted)
    assert found_by(again, QUERIES[1]) == found_by(index, QUERIES[1])


def test_documents_are_inserted_refreshed_and_deleted(store, index):
    before = len(store.client)
    index.insert(Document(text="a new bird eats the green tree", id_="new"))
    found = index.as_retriever(similarity_top_k=1).retrieve("a new bird eats the green tree")[0]
    assert found.node.ref_doc_id == "new"
    changed = [Document(text="a red dog runs", id_="new"), Document(text="an old key", id_="other")]
    assert index.refresh_ref_docs(changed) == [True, True]
    assert index.refresh_ref_docs(changed) == [False, False]
    assert [node.text for node in store.get_nodes()[before:]] == ["a red dog runs", "an old key"]
    index.delete_ref_doc("new")
    index.delete_ref_doc("doc0")
    index.delete_ref_doc("unknown")
    assert len(store.client) == before + 1 - 9
    assert {node.ref_doc_id for node in store.get_nodes()} == {f"doc{i}" for i in range(1, 6)} | {"other"}


async def test_documents_are_inserted_and_deleted_asynchronously(store, index):
    await index.ainsert(Document(text="a red dog runs", id_="new"))
    assert len(store.client) == len(CORPUS) + 1
    await index.adelete_ref_doc("new")
    await store.adelete_nodes(["n0"])
    assert [node.node_id for node in await store.aget_nodes(["n0", "n1"])] == ["n1"]
    await store.aclear()
    assert len(store.client) == 0


def test_a_node_is_replaced_by_its_id(store, index, nodes):
    index.insert_nodes([TextNode(text="the list of keys", id_="n3")])
    assert len(store.client) == len(nodes)
    assert store.get_nodes(["n3"])[0].text == "the list of keys"


def test_nothing_is_searched_where_nodes_are_listed_or_deleted(store, index, monkeypatch):
    monkeypatch.setattr(ContextualIndex, "search_embedded", None)
    assert len(store.get_nodes(filters=CATS)) > 0
    store.delete_nodes(filters=CATS)
    assert store.get_nodes(filters=CATS) == []
    source = store.get_nodes()[0].ref_doc_id
    store.delete(source)
    assert source not in {node.ref_doc_id for node in store.get_nodes()}


def test_get_nodes_by_ids_by_filters_or_all(store, index, nodes):
    assert [node.node_id for node in store.get_nodes()] == [node.node_id for node in nodes]
    assert [node.node_id for node in store.get_nodes(["n5", "unknown", "n2", "n5"])] == ["n5", "n2"]
    assert {node.metadata["animal"] for node in store.get_nodes(filters=CATS)} == {"cat"}
    assert [node.node_id for node in store.get_nodes(["n0", "n6"], CATS)] == ["n0"]
    assert store.get_nodes([]) == []


def test_delete_nodes_by_ids_or_filters_but_never_all(store, index, nodes):
    store.delete_nodes(["n0", "unknown"])
    store.delete_nodes(["n1", "n6"], CATS)
    assert [node.node_id for node in store.get_nodes(["n0", "n1", "n6"])] == ["n6"]
    store.delete_nodes(filters=CATS)
    assert {node.metadata["animal"] for node in store.get_nodes()} == {"dog", "bird"}
    store.delete_nodes([])
    for nothing in (None, MetadataFilters(filters=[])):
        with pytest.raises(ConfigurationError, match=r"needs node_ids or filters.*clear\(\)"):
            store.delete_nodes(filters=nothing)
    assert len(store.client) == 36
    store.clear()
    assert store.get_nodes() == []


def test_queries_can_be_restricted_to_nodes_and_documents(store, index, fitted):
    vector = fitted.get_query_embedding("red cat")

    def ask(**restriction):
        return store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=60, **restriction))

    everything = ask()
    wanted = {"n1", "n20", "n40"}
    some = ask(node_ids=["n40", "n1", "unknown", "n20", "n1"])
    assert some.ids == [i for i in everything.ids if i in wanted]
    kept = [score for i, score in zip(everything.ids, everything.similarities, strict=True) if i in wanted]
    np.testing.assert_allclose(some.similarities, kept, atol=1e-6)
    assert ask(node_ids=["unknown"]).ids == []
    assert ask(node_ids=[]).ids == ask(doc_ids=[]).ids == everything.ids
    assert ask(doc_ids=["doc2"]).ids == [i for i in everything.ids if 18 <= int(i[1:]) < 27]
    assert ask(doc_ids=["unknown"]).ids == []
    assert ask(doc_ids=["doc0"], node_ids=["n1", "n20"], filters=CATS).ids == ["n1"]


def test_a_restriction_to_documents_finds_nothing_where_no_node_names_one(store, fitted):
    index_over(store, [TextNode(text="red cat")])
    vector = fitted.get_query_embedding("red cat")
    assert store.query(VectorStoreQuery(query_embedding=vector, doc_ids=["None"])).ids == []
    store.delete("None")
    assert len(store.client) == 1


def test_index_nodes_do_not_hide_the_other_nodes(store, nodes):
    # LlamaIndex keeps a list of index nodes, and as_retriever asks for these only.
    links = [IndexNode(text="cat and dog", index_id=f"table{i}", id_=f"link{i}") for i in range(2)]
    index = index_over(store, [*nodes, *links])
    ids, _ = found_by(index, QUERIES[1], similarity_top_k=60)
    assert sorted(ids) == sorted([*(node.node_id for node in nodes), "link0", "link1"])
    one = VectorIndexRetriever(index, node_ids=["link1"], similarity_top_k=60).retrieve(QUERIES[1])
    assert [hit.node.index_id for hit in one] == ["table1"]


def test_an_ingestion_pipeline_fills_it_and_skips_what_is_there(store, nodes, fitted):
    from llama_index.core.storage.docstore import SimpleDocumentStore

    pipeline = IngestionPipeline(transformations=[fitted], vector_store=store, docstore=SimpleDocumentStore())
    documents = [Document(text=text, id_=f"d{i}") for i, text in enumerate(CORPUS)]
    pipeline.run(documents=documents)
    pipeline.run(documents=[Document(text="red cat", id_="d0"), *documents[1:]])
    assert len(store.client) == len(CORPUS)
    assert store.get_nodes(filters=None)[-1].text == "red cat"


def test_a_storage_context_round_trip(index, fitted, tmp_path):
    index.storage_context.persist(str(tmp_path / "saved"))
    store = ContextualVectorStore.from_persist_dir(tmp_path / "saved")
    # The model that it loads computes in the format of "auto", which need not be the fixtures' float32.
    expected = found_by(VectorStoreIndex.from_vector_store(index.vector_store, store.embed_model), QUERIES[0])
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path / "saved"), vector_store=store)
    again = load_index_from_storage(storage, embed_model=store.embed_model)
    ids, scores = found_by(again, QUERIES[0])
    assert ids == expected[0]
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)

    again.insert(Document(text="a new bird", id_="new"))
    again.storage_context.persist(str(tmp_path / "saved"))
    reopened = ContextualVectorStore.from_persist_dir(str(tmp_path / "saved"), fitted, read_only=True)
    assert len(reopened.client) == len(CORPUS) + 1
    with pytest.raises(ReadOnlyError):
        reopened.clear()


def test_what_was_persisted_before_is_replaced(index, fitted, tmp_path):
    index.storage_context.persist(tmp_path)
    index.insert(Document(text="a new bird", id_="new"))
    index.storage_context.persist(tmp_path)
    assert len(ContextualVectorStore.from_persist_dir(tmp_path, fitted).client) == len(CORPUS) + 1


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_index_with_an_accelerator_can_be_persisted_again_and_again(nodes, fitted, tmp_path, monkeypatch, kind):
    approximate_from(20, monkeypatch)
    empty = ContextualIndex.create(fitted.embedder, fitted.context, tmp_path / "index", kind=kind)
    index = index_over(ContextualVectorStore(fitted, index=empty), nodes)
    names = set()
    for _ in range(2):
        index.vector_store.client.optimize()
        index.storage_context.persist(tmp_path / "saved")
        store = ContextualVectorStore.from_persist_dir(tmp_path / "saved", fitted)
        assert store.client.damaged == ()
        again = VectorStoreIndex.from_vector_store(store, embed_model=fitted)
        assert found_by(again, QUERIES[0]) == found_by(index, QUERIES[0])
        names |= {path.name for path in store.client.path.glob("accelerator-*")}
    assert len(names) == 2
    assert len(list(store.client.path.glob("accelerator-*"))) == 1


def test_an_interrupted_refit_of_the_copy_does_not_keep_it_from_being_replaced(index, fitted, tmp_path):
    index.storage_context.persist(tmp_path)
    (tmp_path / "default__vector_store.json" / "next.json").write_text("{}")
    index.storage_context.persist(tmp_path)
    assert not (tmp_path / "default__vector_store.json" / "next.json").exists()


def test_a_full_disk_is_named_and_leaves_what_was_persisted_before(index, fitted, tmp_path, monkeypatch):
    index.storage_context.persist(tmp_path)
    index.insert(Document(text="a new bird", id_="new"))
    with monkeypatch.context() as patch:

        def full(source, target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))

        patch.setattr(shutil, "copy2", full)
        with pytest.raises(WriteError, match=r"there is no space left on the device.*what was there before"):
            index.vector_store.persist(str(tmp_path / "default__vector_store.json"))
    assert len(ContextualVectorStore.from_persist_dir(tmp_path, fitted).client) == len(CORPUS)


def test_what_was_put_beside_the_copy_is_not_lost(index, tmp_path):
    index.vector_store.persist(str(tmp_path / "saved"))
    (tmp_path / "saved" / "mine.txt").write_text("kept")
    with pytest.raises(PathInUseError, match=r"already holds other files \(mine.txt\)"):
        index.vector_store.persist(str(tmp_path / "saved"))


def test_a_store_that_was_opened_there_is_not_copied(index, fitted, tmp_path):
    index.storage_context.persist(tmp_path)
    store = ContextualVectorStore.from_persist_dir(tmp_path, fitted)
    before = store.client.path.stat().st_ino
    store.persist(str(tmp_path / "default__vector_store.json"))
    assert store.client.path.stat().st_ino == before


def test_no_copy_is_made_during_a_write(index, tmp_path):
    with writer_lock(index.vector_store.client.path, "testing"), pytest.raises(IndexLockedError, match="testing"):
        index.vector_store.persist(str(tmp_path / "saved"))
    assert list(tmp_path.iterdir()) == []


def test_persisting_replaces_nothing_else(index, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(PathInUseError, match="already holds other files"):
        index.vector_store.persist(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_only_a_local_disk_holds_an_index(index, tmp_path):
    import fsspec

    with pytest.raises(ConfigurationError, match="local disk"):
        index.vector_store.persist("saved", fs=fsspec.filesystem("memory"))
    with pytest.raises(ConfigurationError, match="local disk"):
        ContextualVectorStore.from_persist_dir("saved", fs=fsspec.filesystem("memory"))
    index.vector_store.persist(str(tmp_path / "saved"), fs=fsspec.filesystem("file"))
    assert len(ContextualIndex.open(tmp_path / "saved")) == len(CORPUS)


def test_an_index_on_disk_is_opened_with_its_model_and_context(filled, fitted, nodes, tmp_path):
    store = ContextualVectorStore(fitted, tmp_path / "index")
    index_over(store, nodes)
    again = ContextualVectorStore.open(tmp_path / "index")
    assert again.embed_model.context == fitted.context
    assert again.context_fingerprint == fitted.context_fingerprint == again.embed_model.context_fingerprint
    index = VectorStoreIndex.from_vector_store(again, embed_model=again.embed_model)
    before = VectorStoreIndex.from_vector_store(filled.vector_store, again.embed_model)
    assert found_by(index, QUERIES[0]) == found_by(before, QUERIES[0])


def test_a_store_may_take_fields_that_no_node_has_as_empty(fitted, nodes, tmp_path):
    strict = ContextualVectorStore(fitted, tmp_path / "index")
    index_over(strict, nodes)
    mine = MetadataFilters(filters=[MetadataFilter(key="owner", value="me")])
    opened = ContextualVectorStore.open(tmp_path / "index", fitted, missing="empty")
    for store in (ContextualVectorStore(fitted, index=strict.client, missing="empty"), opened, copy.copy(opened)):
        query = VectorStoreQuery(query_str=QUERIES[0], query_embedding=fitted.get_query_embedding(QUERIES[0]))
        for mode in ("default", "hybrid", "sparse", "mmr"):
            assert store.query(dataclasses.replace(query, mode=mode, filters=mine, similarity_top_k=2)).ids == []
            assert store.query(dataclasses.replace(query, mode=mode, similarity_top_k=2)).ids
        assert store.get_nodes(filters=mine) == store.get_nodes([nodes[0].node_id], mine) == []
        store.delete_nodes(filters=mine)
    assert len(strict.get_nodes()) == len(nodes)
    assert pickle.loads(pickle.dumps(opened)).get_nodes(filters=mine) == []
    with pytest.raises(FilterError, match="'owner'"):
        strict.get_nodes(filters=mine)


def test_an_embedding_without_a_context_lends_its_model(fitted, loaded, tmp_path):
    ContextualVectorStore(fitted, tmp_path / "index")
    unfitted = ContextualEmbedding(encoder=loaded)
    store = ContextualVectorStore.open(tmp_path / "index", unfitted)
    assert store.embed_model.context == fitted.context
    assert unfitted.context_fingerprint is None


def test_a_new_store_does_not_take_the_place_of_another(fitted, tmp_path):
    ContextualVectorStore(fitted, tmp_path / "index")
    with pytest.raises(PathInUseError, match=r"ContextualVectorStore\.open\("):
        ContextualVectorStore(fitted, tmp_path / "index")
    with pytest.raises(IndexFileError, match="holds no index"):
        ContextualVectorStore.open(tmp_path / "nothing", fitted)
    with pytest.raises(IndexFileError, match="holds no index"):
        ContextualVectorStore.from_persist_dir(tmp_path, fitted)


def test_an_unfitted_embedding_is_refused(loaded, tmp_path):
    with pytest.raises(ContextNotFittedError, match=r"embed_model\.fit\("):
        ContextualVectorStore(ContextualEmbedding(encoder=loaded), tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_store_over_an_open_index(fitted, loaded, tmp_path):
    opened = ContextualIndex.build(CORPUS, loaded, tmp_path / "index", context=fitted.context)
    store = ContextualVectorStore(fitted, index=opened)
    assert store.client is opened
    with pytest.raises(ConfigurationError, match="not both"):
        ContextualVectorStore(fitted, tmp_path / "other", index=opened)


def test_documents_of_other_programs_become_nodes(fitted, loaded, tmp_path):
    opened = ContextualIndex.build(
        [IndexDocument(text, id=f"d{i}", metadata={"row": i}) for i, text in enumerate(CORPUS)],
        loaded,
        tmp_path / "index",
        context=fitted.context,
    )
    store = ContextualVectorStore(fitted, index=opened)
    index = VectorStoreIndex.from_vector_store(store, embed_model=fitted)
    hit = index.as_retriever(similarity_top_k=1).retrieve(CORPUS[7])[0]
    assert (hit.node_id, hit.text, hit.metadata) == ("d7", CORPUS[7], {"row": 7})
    assert hit.score == pytest.approx(1.0, abs=1e-3)
    index.insert_nodes([TextNode(text="red cat", id_="node")])
    index.delete_ref_doc("unknown")
    assert len(opened) == len(CORPUS) + 1
    few = MetadataFilters(filters=[MetadataFilter(key="row", value=3, operator=FilterOperator.LT)])
    assert [node.node_id for node in store.get_nodes(filters=few)] == ["d0", "d1", "d2"]


def test_a_temporary_index_goes_with_its_store(fitted):
    store = ContextualVectorStore(fitted)
    path = store.client.path
    assert path.is_dir()
    del store
    gc.collect()
    assert not path.exists()


def test_a_forked_child_that_drops_it_leaves_the_temporary_index_to_its_parent(fitted, monkeypatch):
    store = ContextualVectorStore(fitted)
    path = store.client.path
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    del store
    gc.collect()
    assert path.is_dir()
    shutil.rmtree(path)


def test_an_empty_store_finds_nothing(store, fitted):
    index = VectorStoreIndex.from_vector_store(store, embed_model=fitted)
    assert index.as_retriever(filters=CATS).retrieve("red cat") == []
    assert store.get_nodes(filters=CATS) == store.get_nodes(["n0"]) == []
    assert store.add([]) == []
    store.delete("doc0")
    store.clear()
