"""An index of nodes without stamps is saved if its vectors are the embedding's; our own store is loaded with it."""

import logging

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from remote_store import RemoteStore
from tiny import CORPUS

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.llama_index import (
    CONTEXT_KEY,
    ContextualRetriever,
    ContextualVectorStore,
    check_index,
    load_index,
    persist_index,
    stamped,
)


@pytest.fixture
def embed_model(make_embedding):
    return make_embedding().fit(CORPUS)


def found(index):
    hits = index.as_retriever(similarity_top_k=3).retrieve("red cat")
    return [(hit.node_id, pytest.approx(hit.score, abs=0.02)) for hit in hits]  # the query may be embedded in bfloat16


def test_an_index_of_plain_nodes_is_saved_as_it_stands(embed_model, make_nodes, tmp_path):
    nodes = make_nodes()
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    persist_index(index, embed_model, tmp_path / "index")
    again = load_index(tmp_path / "index")
    assert found(again) == found(index)
    assert (
        check_index(again, embed_model).verdict
        == check_index(tmp_path / "index", embed_model).verdict
        == "same context"
    )
    assert all(CONTEXT_KEY not in node.metadata for node in nodes)
    again.insert_nodes([TextNode(text="one more cat")])  # without a stamp
    persist_index(again, embed_model, tmp_path / "index")
    assert len(load_index(tmp_path / "index").docstore.docs) == len(nodes) + 1


@pytest.mark.parametrize("row", [0, 26, 53])
def test_a_vector_of_another_context_is_noticed_anywhere(embed_model, make_embedding, make_nodes, tmp_path, row):
    nodes = make_nodes()
    other = make_embedding().fit(CORPUS[:9])
    nodes[row].embedding = other.get_text_embedding(nodes[row].text)
    index = VectorStoreIndex(nodes, embed_model=embed_model)
    with pytest.raises(ContextMismatchError, match=rf"{nodes[row].node_id} is not the one that its text has under it"):
        persist_index(index, embed_model, tmp_path / "index")
    assert check_index(index, embed_model).verdict == "index carries no context"
    assert not (tmp_path / "index").exists()


def test_an_embedding_that_had_another_context_needs_stamps(embed_model, make_nodes, tmp_path):
    index = VectorStoreIndex(make_nodes(), embed_model=embed_model)
    embed_model.fit(CORPUS[:9], refit=True)
    with pytest.raises(ContextMismatchError, match="the embedding had another context before"):
        persist_index(index, embed_model, tmp_path / "index")


def test_vectors_that_cannot_be_compared_need_stamps(embed_model, make_nodes, tmp_path):
    remote = RemoteStore()
    remote.add(embed_model(make_nodes()))
    index = VectorStoreIndex.from_vector_store(remote, embed_model=embed_model)
    with pytest.raises(ContextMismatchError, match="vectors of a RemoteStore cannot be compared"):
        persist_index(index, embed_model, tmp_path / "index")
    index = VectorStoreIndex(make_nodes(), embed_model=embed_model)
    index.docstore.delete_document(next(iter(index.docstore.docs)))
    with pytest.raises(ContextMismatchError, match="no text for 1 of its vectors"):
        persist_index(index, embed_model, tmp_path / "index")


def test_load_index_opens_our_own_store_and_changes_stay(embed_model, make_nodes, tmp_path):
    storage = StorageContext.from_defaults(vector_store=ContextualVectorStore(embed_model))
    index = VectorStoreIndex(make_nodes(), storage_context=storage, embed_model=embed_model)
    persist_index(index, embed_model, tmp_path / "index")
    for given in (None, embed_model):
        again = load_index(tmp_path / "index", given)
        assert isinstance(again.vector_store, ContextualVectorStore)
        assert found(again) == found(index)
    again.insert_nodes([TextNode(text="one more cat", id_="more")])
    persist_index(again, embed_model, tmp_path / "index")  # over the directory that it was opened from
    again.insert_nodes([TextNode(text="one more bird", id_="bird")])
    assert len(load_index(tmp_path / "index").vector_store.get_nodes(["more", "bird"])) == 2
    storage = StorageContext.from_defaults(
        persist_dir=str(tmp_path / "index"), vector_store=ContextualVectorStore.from_persist_dir(tmp_path / "index")
    )
    assert len(storage.vector_store.get_nodes(["more"])) == 1


def test_our_own_store_of_another_context_is_refused(embed_model, make_embedding, make_nodes, tmp_path):
    storage = StorageContext.from_defaults(vector_store=ContextualVectorStore(embed_model))
    index = VectorStoreIndex(make_nodes(), storage_context=storage, embed_model=embed_model)
    persist_index(index, embed_model, tmp_path / "index")
    with pytest.raises(ContextMismatchError):
        load_index(tmp_path / "index", make_embedding().fit(CORPUS[:9]))


async def test_foreign_hits_are_refused_in_any_store(embed_model, make_embedding, make_nodes):
    other = make_embedding().fit(CORPUS[:9])
    storage = StorageContext.from_defaults(vector_store=RemoteStore())
    index = VectorStoreIndex(stamped(make_nodes(), embed_model), storage_context=storage, embed_model=embed_model)
    retriever = ContextualRetriever(index, embed_model, 99)
    assert len(retriever.retrieve("red cat")) == 54
    index.insert_nodes(other(stamped([TextNode(text="red cat")], other)))
    with pytest.raises(ContextMismatchError, match="RemoteStore found a document that was embedded under"):
        retriever.retrieve("red cat")
    with pytest.raises(ContextMismatchError, match="RemoteStore found a document that was embedded under"):
        await retriever.aretrieve("red cat")


def test_hits_without_a_stamp_are_said_once(embed_model, make_nodes, caplog):
    retriever = ContextualRetriever(VectorStoreIndex(make_nodes(), embed_model=embed_model), embed_model)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(retriever.retrieve("red cat")) == 4
    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "SimpleVectorStore finds documents that carry no context"
    ]
