"""Contexts of supported stores: read, written and checked; real stores, on disk and in memory."""

import pytest
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from cde_retrievers.errors import (
    ConfigurationError,
    ContextMismatchError,
    ContextNotFittedError,
)
from cde_retrievers.langchain import (
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


def test_an_unsupported_store_is_refused_with_a_way_out(guarded, documents):
    embeddings = guarded()
    for ask in (read_context, lambda store: write_context(store, embeddings)):
        with pytest.raises(
            ConfigurationError, match=r"Unknown is not a supported vector store.*add stamped\(documents"
        ):
            ask(Unknown())
    with pytest.raises(ConfigurationError, match="'annoy' is not a supported vector store"):
        context_filter(embeddings, "annoy")
    with pytest.raises(ConfigurationError, match=r"a vector store, a ContextualIndex or its directory .*found int"):
        check_index(4, embeddings)
    assert isinstance(ContextualRetriever(embeddings=embeddings, vectorstore=Unknown()).vectorstore, Unknown)
    assert isinstance(
        ContextualRetriever.from_documents(documents, embeddings=embeddings, vectorstore_class=Unknown).vectorstore,
        Unknown,
    )


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
