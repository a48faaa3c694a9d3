"""What stores say about their context: written, read, checked, filtered by; the real stores, on disk and in memory."""

import sys

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    ContextNotFittedError,
    InvalidTextError,
    MissingDependencyError,
)
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualEmbeddings,
    ContextualRetriever,
    check_index,
    collection_metadata,
    context_filter,
    read_context,
    stamped,
    write_context,
)


class Unknown(VectorStore):
    """A store of which nothing is known."""

    def similarity_search(self, query, k=4, **options):
        return []

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, **options):
        return cls()

    @property
    def embeddings(self):
        return None


def test_the_three_answers(new_store, guarded, documents, other):
    embeddings, foreign = guarded(), guarded(other)
    store = new_store(embeddings)
    assert read_context(store) is None
    store.add_documents(documents)
    assert str(check_index(store, embeddings)) == "index carries no context"
    write_context(store, embeddings)
    assert read_context(store) == embeddings.context_fingerprint
    assert str(check_index(store, embeddings)) == "same context"
    assert check_index(store, foreign).verdict == "another context"


def test_what_a_store_says_is_replaced_on_request_only(new_store, guarded, documents, other):
    embeddings, foreign = guarded(), guarded(other)
    store = new_store(embeddings)
    store.add_documents(documents)
    write_context(store, embeddings)
    write_context(store, embeddings)
    with pytest.raises(ContextMismatchError, match=f"under context {embeddings.context_fingerprint}, not "):
        write_context(store, foreign)
    assert read_context(store) == embeddings.context_fingerprint
    write_context(store, foreign, replace=True)
    assert read_context(store) == foreign.context_fingerprint


def test_without_a_fit_nothing_is_written(new_store, encoder, documents):
    embeddings = ContextualEmbeddings(encoder=encoder)
    for ask in (write_context, check_index, lambda store, e: context_filter(e, store)):
        with pytest.raises(ContextNotFittedError):
            ask(InMemoryVectorStore(embeddings), embeddings)
    for make in (collection_metadata, lambda e: stamped(documents, e)):
        with pytest.raises(ContextNotFittedError):
            make(embeddings)


def test_a_filter_is_combined_with_the_users_own(new_store, guarded, documents, other):
    embeddings = guarded()
    store = new_store(embeddings)
    store.add_documents(stamped(documents[:4], embeddings))
    store.add_documents(stamped(documents[4:8], guarded(other)))
    assert rows(store, context_filter(embeddings, store)) == [0, 1, 2, 3]
    theirs = users_own(new_store.kind)
    assert rows(store, theirs) == [2, 3, 4, 5, 6, 7]
    assert rows(store, context_filter(embeddings, new_store.kind, theirs)) == [2, 3]


def rows(store, wanted):
    return sorted(hit.metadata["row"] for hit in store.similarity_search("red cat", k=50, filter=wanted))


def users_own(kind):
    if kind == "chroma":
        return {"row": {"$gte": 2}}
    if kind == "qdrant":
        from qdrant_client import models

        return models.Filter(must=[models.FieldCondition(key="metadata.row", range=models.Range(gte=2))])
    return lambda document: document.metadata["row"] >= 2


@pytest.mark.parametrize("kind", ["inmemory", "chroma", "qdrant", "pgvector", "Chroma"])
def test_a_filter_of_the_wrong_kind_is_refused(kind, guarded):
    pytest.importorskip("qdrant_client")
    with pytest.raises(ConfigurationError, match=r"a filter for \w+ is a"):
        context_filter(guarded(), kind, also=7)


def test_a_missing_package_is_named(guarded, monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client.models", None)
    with pytest.raises(MissingDependencyError, match="a filter for Qdrant needs langchain-qdrant: pip install lang"):
        context_filter(guarded(), "qdrant")


def test_a_store_of_which_nothing_is_known_is_refused_with_the_way_out(guarded, documents):
    embeddings = guarded()
    for ask in (
        read_context,
        lambda store: write_context(store, embeddings),
        lambda store: check_index(store, embeddings),
    ):
        with pytest.raises(
            ConfigurationError, match=r"Unknown is not a supported vector store.*add stamped\(documents"
        ):
            ask(Unknown())
    with pytest.raises(ConfigurationError, match="'faiss' is not a supported vector store"):
        context_filter(embeddings, "faiss")
    assert isinstance(ContextualRetriever(embeddings=embeddings, vectorstore=Unknown()).vectorstore, Unknown)
    assert isinstance(
        ContextualRetriever.from_documents(documents, embeddings=embeddings, vectorstore_class=Unknown).vectorstore,
        Unknown,
    )


def test_stamped_documents_are_copies(guarded):
    embeddings, document = guarded(), Document("a", metadata={"x": 1}, id="7")
    (copy,) = stamped(iter([document]), embeddings)
    assert copy == Document("a", metadata={"x": 1, CONTEXT_KEY: embeddings.context_fingerprint}, id="7")
    assert document.metadata == {"x": 1}
    with pytest.raises(InvalidTextError, match="found str; wrap texts"):
        stamped(["a text"], embeddings)


def test_documents_in_memory_that_name_two_contexts_or_none_are_noticed(guarded, documents, other):
    embeddings = guarded()
    store = InMemoryVectorStore(embeddings)
    with pytest.raises(ConfigurationError, match="carries its context in its documents, and it has no documents yet"):
        write_context(store, embeddings)
    store.add_documents(stamped(documents[:3], embeddings))
    for more in (documents[3:5], stamped(documents[3:5], guarded(other))):
        ids = store.add_documents(more)
        with pytest.raises(ContextMismatchError, match="embedded under 2 different contexts"):
            ContextualRetriever(embeddings=embeddings, vectorstore=store)
        store.delete(ids)
    assert check_index(store, embeddings).verdict == "same context"


def test_writing_to_a_store_in_memory_leaves_the_users_documents_alone(guarded, documents):
    embeddings = guarded()
    store = InMemoryVectorStore.from_documents(documents, embeddings)
    write_context(store, embeddings)
    assert documents[0].metadata == {"row": 0}


def test_a_dump_of_a_store_in_memory_is_checked_when_it_is_loaded(guarded, documents, other, tmp_path):
    embeddings, foreign = guarded(), guarded(other)
    retriever = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=InMemoryVectorStore
    )
    retriever.vectorstore.dump(str(tmp_path / "store.json"))
    again = InMemoryVectorStore.load(str(tmp_path / "store.json"), foreign)
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever(embeddings=foreign, vectorstore=again)
