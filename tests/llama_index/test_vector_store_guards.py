"""A vector store refuses vectors of another context."""

import copy
import pickle
import threading

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.vector_stores import VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.binding.check import CONTEXT_KEY
from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.index import ContextualIndex
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore


def index_over(store, nodes):
    storage = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(nodes, storage_context=storage, embed_model=store.embed_model)


@pytest.fixture
def store(fitted):
    return ContextualVectorStore(fitted)


def test_after_a_refit_nothing_is_added_and_nothing_found(store, fitted, nodes):
    index = index_over(store, nodes)
    old = fitted.context_fingerprint
    new = fitted.fit(CORPUS[:9], refit=True).context_fingerprint
    message = rf"built under context {old}, queries would be embedded under {new}"
    with pytest.raises(ContextMismatchError, match=message):
        index.insert_nodes([TextNode(text="red cat")])
    with pytest.raises(ContextMismatchError, match=message):
        index.as_retriever().retrieve("red cat")
    with pytest.raises(ContextMismatchError, match=message):
        store.add([])
    assert len(store.client) == len(nodes)


async def test_async_notices_a_refit_too(store, fitted, nodes):
    index = index_over(store, nodes)
    fitted.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError):
        await index.as_retriever().aretrieve("red cat")
    with pytest.raises(ContextMismatchError):
        await index.ainsert_nodes([TextNode(text="red cat")])


def test_a_saved_index_is_not_reopened_under_another_context(store, nodes, another, other_folder, tmp_path):
    index_over(store, nodes).storage_context.persist(tmp_path)
    with pytest.raises(ContextMismatchError, match=another.context_fingerprint):
        ContextualVectorStore.from_persist_dir(tmp_path, another)
    with pytest.raises(ContextMismatchError, match=another.context_fingerprint):
        ContextualVectorStore(another, index=ContextualIndex.open(tmp_path / "default__vector_store.json"))
    other_model = ContextualEncoder.from_biencoder(other_folder, "whitening", device="cpu", dtype="float32")
    with pytest.raises(ContextMismatchError, match="was fitted by model"):
        ContextualVectorStore.from_persist_dir(tmp_path, ContextualEmbedding(encoder=other_model))


def test_a_reloaded_index_that_embeds_queries_under_another_context_is_refused(store, nodes, fitted, another, tmp_path):
    index_over(store, nodes).storage_context.persist(tmp_path)
    opened = ContextualVectorStore.from_persist_dir(tmp_path, fitted)
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=opened)
    index = load_index_from_storage(storage, embed_model=another)
    with pytest.raises(ContextMismatchError, match=r"vector of query 'red cat'.*embed_model=store\.embed_model"):
        index.as_retriever().retrieve("red cat")


def test_a_query_in_a_hundred_is_compared(store, nodes, fitted, another):
    index = index_over(store, nodes)
    mine, foreign = index.as_retriever(), index.as_retriever(embed_model=another)
    bundle = QueryBundle("red cat", embedding=fitted.get_query_embedding("red cat"))
    for _ in range(100):
        mine.retrieve(bundle)
    with pytest.raises(ContextMismatchError, match="vector of query"):
        foreign.retrieve("red cat")


def test_vectors_of_another_context_are_not_added(store, nodes, another):
    storage = StorageContext.from_defaults(vector_store=store)
    with pytest.raises(ContextMismatchError, match=r"vector of node n\d+ .*made by another model or under another"):
        VectorStoreIndex(
            [TextNode(text=n.text, id_=n.id_) for n in nodes], storage_context=storage, embed_model=another
        )
    assert len(store.client) == 0


def test_a_stamp_of_another_context_is_refused(store, fitted, another, nodes):
    nodes[50].metadata[CONTEXT_KEY] = another.context_fingerprint
    with pytest.raises(ContextMismatchError, match=f"node n50 is stamped with context {another.context_fingerprint}"):
        store.add(nodes)
    nodes[50].metadata[CONTEXT_KEY] = fitted.context_fingerprint
    nodes[50].excluded_embed_metadata_keys.append(CONTEXT_KEY)
    assert len(store.add(nodes)) == len(nodes)


def test_vectors_that_differ_from_their_texts_need_verify_false(fitted, nodes):
    hyde = QueryBundle("red cat", custom_embedding_strs=[CORPUS[3], CORPUS[30]])
    with pytest.raises(ContextMismatchError, match=r"as with HyDE, create the store with verify=False"):
        index_over(ContextualVectorStore(fitted), nodes).as_retriever().retrieve(hyde)
    hits = index_over(ContextualVectorStore(fitted, verify=False), nodes).as_retriever().retrieve(hyde)
    simple = VectorStoreIndex(nodes, embed_model=fitted).as_retriever().retrieve(hyde)
    assert [hit.node_id for hit in hits] == [hit.node_id for hit in simple]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in simple], abs=1e-6)


def test_an_index_refitted_beside_the_store_is_refused(store, fitted, nodes):
    index = index_over(store, nodes)
    new = store.client.refit(size=4).new_context
    assert new != fitted.context_fingerprint
    with pytest.raises(ContextMismatchError, match=new):
        index.as_retriever().retrieve("red cat")
    with pytest.raises(ContextMismatchError, match=new):
        index.insert_nodes([TextNode(text="red cat")])


def test_an_index_refitted_during_a_query_is_refused(fitted, nodes, monkeypatch):
    store = ContextualVectorStore(fitted, verify=False)
    store.add(nodes)
    index, vectors_of = store.client, store.client.vectors

    def refit_before(ids):
        index.refit(size=4)
        return vectors_of(ids)

    monkeypatch.setattr(index, "vectors", refit_before)
    query = VectorStoreQuery(query_embedding=fitted.get_query_embedding("red cat"), node_ids=["n0", "n1"])
    with pytest.raises(ContextMismatchError):
        store.query(query)


def test_a_refitted_index_has_the_vectors_that_llama_index_would_make(store, fitted, nodes):
    store.add(nodes)
    store.client.refit(size=4)
    expected = fitted.with_context(store.client.context)([node.model_copy() for node in nodes])
    vectors = store.client.vectors([node.node_id for node in nodes])
    np.testing.assert_allclose(vectors, [node.embedding for node in expected], atol=1e-5)


@pytest.mark.parametrize(
    "mode", ["semantic_hybrid", "svm", "logistic_regression", "linear_regression"], ids=lambda mode: mode
)
def test_modes_that_need_more_than_vectors_and_words_are_refused(store, fitted, nodes, mode):
    index_over(store, nodes)
    query = VectorStoreQuery(
        query_embedding=fitted.get_query_embedding("red cat"), query_str="red cat", mode=VectorStoreQueryMode(mode)
    )
    with pytest.raises(ConfigurationError, match=f"query mode '{mode}' is unknown.*use one of default, mmr, sparse"):
        store.query(query)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"query_embedding": None}, {}, "the query's vector must have 32 numbers, found 0"),
        ({"query_embedding": [1.0] * 5}, {}, "the query's vector must have 32 numbers, found 5"),
        ({"similarity_top_k": 0}, {}, "similarity_top_k must be a whole number of at least 1, found 0"),
        ({}, {"threshold": 0.5}, "option 'threshold' is unknown"),
        (
            {"mode": VectorStoreQueryMode.MMR},
            {"mmr_prefetch_k": 0},
            "mmr_prefetch_k must be a whole number of at least 1",
        ),
    ],
)
def test_impossible_queries_are_refused(fitted, nodes, changes, options, message):
    store = ContextualVectorStore(fitted, verify=False)
    store.add(nodes)
    query = VectorStoreQuery(
        **{"query_embedding": fitted.get_query_embedding("red cat"), "similarity_top_k": 3, **changes}
    )
    with pytest.raises(ConfigurationError, match=message):
        store.query(query, **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda store, **o: store.add([], **o),
        lambda store, **o: store.delete("doc0", **o),
        lambda store, **o: store.delete_nodes(["n0"], **o),
    ],
)
def test_options_without_an_effect_are_refused(store, change):
    with pytest.raises(ConfigurationError, match="option 'batch_size' is unknown"):
        change(store, batch_size=3)


def test_a_pickle_is_the_path_and_the_embedding(fitted, nodes, tmp_path):
    index_over(ContextualVectorStore(fitted, tmp_path / "index", verify=False), nodes)
    store = pickle.loads(pickle.dumps(ContextualVectorStore.open(tmp_path / "index", fitted, read_only=True)))
    assert len(store.client) == len(nodes)
    assert store.context_fingerprint == fitted.context_fingerprint
    assert store.client.read_only


def test_a_temporary_index_cannot_be_pickled(store):
    with pytest.raises(ConfigurationError, match="is in a temporary directory"):
        pickle.dumps(store)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_looks_at_the_same_index(store, nodes, copied):
    twin = copied(store)
    store.add(nodes)
    del store
    assert len(twin.get_nodes()) == len(nodes)


def test_threads_read_while_another_one_deletes(fitted, nodes):
    store = ContextualVectorStore(fitted, verify=False)
    store.add(nodes)
    query = VectorStoreQuery(
        query_embedding=fitted.get_query_embedding(QUERIES[0]),
        similarity_top_k=3,
        node_ids=[node.node_id for node in nodes],
        mode=VectorStoreQueryMode.MMR,
    )
    errors = []

    def ask():
        try:
            while len(store.client) > 3:
                assert len(store.query(query).ids) == 3
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    for node in nodes[3:]:
        store.delete_nodes([node.node_id])
    for reader in readers:
        reader.join()
    assert errors == []
