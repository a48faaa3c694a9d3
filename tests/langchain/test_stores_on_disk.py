"""Collections of Chroma and Qdrant keep their context and their other metadata on disk."""

import json
import subprocess
import sys

import pytest

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualRetriever,
    check_index,
    collection_metadata,
    read_context,
    write_context,
)


def test_new_collections_are_created_with_their_context(guarded):
    chroma, qdrant = pytest.importorskip("langchain_chroma"), pytest.importorskip("langchain_qdrant")
    embeddings = guarded()
    metadata = {"mine": 1, **collection_metadata(embeddings)}
    first = chroma.Chroma("created-with", embeddings, collection_metadata=metadata)
    options = {"location": ":memory:", "collection_create_options": {"metadata": metadata}}
    second = qdrant.QdrantVectorStore.from_documents([], embeddings, **options)
    for store in (first, second):
        assert check_index(store, embeddings).verdict == "same context"


READ_IN_ANOTHER_PROCESS = """
import json, sys
from langchain_chroma import Chroma
from langchain_core.embeddings import FakeEmbeddings
folder, key, query = json.load(sys.stdin)
store = Chroma("kept", FakeEmbeddings(size=32), folder, collection_metadata={key: "something else"})
found = store.similarity_search_by_vector_with_relevance_scores(query)
json.dump([store._collection.metadata, [score for _, score in found]], sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.parametrize("present", [None, {"mine": 1}, {"hnsw:space": "cosine", "hnsw:M": 17, "mine": 1}])
def test_writing_to_chroma_keeps_metadata_and_distance(present, guarded, documents, other, tmp_path):
    chroma = pytest.importorskip("langchain_chroma").Chroma
    embeddings, foreign = guarded(), guarded(other)
    store = chroma("kept", embeddings, str(tmp_path), collection_metadata=present)
    store.add_documents(documents)
    _, before = zip(*store.similarity_search_with_score("red cat"), strict=True)
    write_context(store, embeddings)
    command = [sys.executable, "-c", READ_IN_ANOTHER_PROCESS]
    given = json.dumps([str(tmp_path), CONTEXT_KEY, embeddings.embed_query("red cat")])
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    metadata, after = json.loads(done.stdout)
    assert metadata == {**(present or {}), CONTEXT_KEY: embeddings.context_fingerprint}
    assert after == pytest.approx(before)
    with pytest.raises(ContextMismatchError):
        ContextualRetriever(embeddings=foreign, vectorstore=chroma("kept", foreign, client=store._client))


def test_writing_to_qdrant_keeps_metadata_on_disk(guarded, documents, other, tmp_path):
    qdrant = pytest.importorskip("langchain_qdrant").QdrantVectorStore
    embeddings, foreign = guarded(), guarded(other)
    options = {"path": str(tmp_path), "collection_name": "kept", "collection_create_options": {"metadata": {"mine": 1}}}
    retriever = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=qdrant, batch_size=20, **options
    )
    retriever.vectorstore.client.close()
    again = qdrant.from_existing_collection("kept", foreign, path=str(tmp_path))
    metadata = again.client.get_collection("kept").config.metadata
    assert metadata == {"mine": 1, CONTEXT_KEY: embeddings.context_fingerprint}
    with pytest.raises(ContextMismatchError, match="the index was built under context"):
        ContextualRetriever(embeddings=foreign, vectorstore=again)
    again.client.close()


def test_a_client_that_is_too_old_is_named(guarded, monkeypatch):
    qdrant = pytest.importorskip("langchain_qdrant").QdrantVectorStore
    store = qdrant.from_documents([], guarded(), location=":memory:")
    monkeypatch.setattr(store.client, "update_collection", lambda collection_name, timeout=None: True)
    with pytest.raises(ConfigurationError, match=r"does not support collection metadata.*'qdrant-client>=1\.16'"):
        write_context(store, guarded())


def test_a_server_that_does_not_keep_the_context_is_noticed(guarded, monkeypatch):
    qdrant = pytest.importorskip("langchain_qdrant").QdrantVectorStore
    embeddings = guarded()
    store = qdrant.from_documents([], embeddings, location=":memory:")
    monkeypatch.setattr(store.client, "update_collection", lambda name, metadata: True)
    with pytest.raises(ConfigurationError, match="Qdrant accepted the context but did not keep it; update its server"):
        write_context(store, embeddings)
    assert read_context(store) is None
