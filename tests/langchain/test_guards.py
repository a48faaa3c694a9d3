"""`ContextualRetriever` records the context in the stores it builds, and never mixes two."""

import pytest
from langchain_core.documents import Document
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore
from tiny import CORPUS

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualRetriever,
    cached_embeddings,
    check_index,
    read_context,
    write_context,
)


@pytest.fixture
def chroma():
    return pytest.importorskip("langchain_chroma").Chroma


@pytest.fixture
def into(chroma, tmp_path):
    """Options that name one collection on disk."""
    return {"vectorstore_class": chroma, "collection_name": "shop", "persist_directory": str(tmp_path)}


def test_a_built_store_says_its_context(into, guarded, documents):
    embeddings = guarded()
    options = {"collection_metadata": {"hnsw:space": "cosine"}, "ids": [str(row) for row in range(54)]}
    retriever = ContextualRetriever.from_documents(documents, embeddings=embeddings, **into, **options)
    assert check_index(retriever.vectorstore, embeddings).verdict == "same context"
    assert retriever.vectorstore._collection.count() == 54
    (found,) = retriever.invoke(CORPUS[7], k=1)
    assert (found.id, found.metadata) == ("7", {"row": 7})


def test_building_into_a_collection_of_another_context_adds_nothing(into, guarded, documents, other):
    first = ContextualRetriever.from_documents(documents, embeddings=guarded(), **into)
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever.from_documents(documents, embeddings=guarded(other), **into)
    assert first.vectorstore._collection.count() == 54
    again = ContextualRetriever.from_documents(documents[:5], embeddings=guarded(), **into)
    assert again.vectorstore._collection.count() == 59


def test_building_into_a_collection_that_does_not_say_adds_nothing(into, chroma, guarded, documents):
    embeddings = guarded()
    plain = chroma("shop", embeddings, into["persist_directory"])
    plain.add_documents(documents[:5])
    with pytest.raises(ContextMismatchError, match="this Chroma store already holds 5 documents and does not record"):
        ContextualRetriever.from_documents(documents, embeddings=embeddings, **into)
    assert plain._collection.count() == 5
    assert read_context(plain) is None
    write_context(plain, embeddings)
    assert ContextualRetriever.from_documents(documents, embeddings=embeddings, **into).k == 4


def test_more_documents_than_chroma_takes_at_once(into, guarded, documents, monkeypatch):
    embeddings = guarded()
    retriever = ContextualRetriever.from_documents(documents[:2], embeddings=embeddings, **into)
    largest = []
    monkeypatch.setattr(retriever.vectorstore._client, "get_max_batch_size", lambda: 20)
    upsert = retriever.vectorstore._collection.upsert
    monkeypatch.setattr(
        retriever.vectorstore._collection,
        "upsert",
        lambda **options: (largest.append(len(options["ids"])), upsert(**options)),
    )
    assert retriever.add_documents(documents, ids=[f"n{row}" for row in range(54)]) == [f"n{row}" for row in range(54)]
    assert largest == [20, 20, 14]
    assert retriever.vectorstore._collection.count() == 56


def test_added_documents_are_found(new_store, guarded, documents):
    embeddings = guarded()
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=new_store(embeddings), k=1)
    retriever.add_documents(iter(documents))
    (identity,) = retriever.add_documents([Document("a new dog eats", metadata={"row": 54})])
    (found,) = retriever.invoke("a new dog eats")
    assert (found.metadata["row"], len(identity) > 8) == (54, True)


def test_documents_added_in_memory_say_what_the_others_say(guarded, documents):
    embeddings = guarded()
    retriever = ContextualRetriever.from_documents(documents[:9], embeddings=embeddings)
    retriever.add_documents(documents[9:])
    assert check_index(retriever.vectorstore, embeddings).verdict == "same context"
    silent = InMemoryVectorStore.from_documents(documents[:9], embeddings)
    ContextualRetriever(embeddings=embeddings, vectorstore=silent).add_documents(documents[9:])
    assert all(CONTEXT_KEY not in entry["metadata"] for entry in silent.store.values())


def test_a_store_whose_cached_embeddings_have_another_context_is_refused(guarded, other):
    pytest.importorskip("langchain_classic.embeddings")
    store = InMemoryVectorStore(cached_embeddings(guarded(other), InMemoryByteStore()))
    with pytest.raises(ContextMismatchError, match="the vector store embeds under context"):
        ContextualRetriever(embeddings=guarded(), vectorstore=store)


def test_nothing_is_added_to_a_store_that_another_process_built_again(into, chroma, guarded, documents, other):
    retriever = ContextualRetriever.from_documents(documents, embeddings=guarded(), **into)
    write_context(chroma("shop", None, into["persist_directory"]), guarded(other), replace=True)
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        retriever.add_documents(documents)
    assert retriever.vectorstore._collection.count() == 54
