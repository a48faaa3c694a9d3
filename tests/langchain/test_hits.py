"""Stores of which nothing is known: asked for their context by their documents, and every hit of theirs checked."""

import logging

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from cde_retrievers.errors import ContextMismatchError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualHybridRetriever,
    ContextualRetriever,
    ContextualVectorStore,
    check_index,
    collection_metadata,
    stamped,
)

QUERY = "green cat sleeps in the tree"


class Unknown(VectorStore):
    """A store of no supported class, over one in memory."""

    def __init__(self, embeddings):
        self.held = InMemoryVectorStore(embeddings)

    @property
    def embeddings(self):
        return self.held.embeddings

    def add_texts(self, texts, metadatas=None, *, ids=None, **options):
        return self.held.add_texts(texts, metadatas, ids=ids, **options)

    def similarity_search(self, query, k=4, **options):
        return self.held.similarity_search(query, k, **options)

    def similarity_search_by_vector(self, embedding, k=4, **options):
        return self.held.similarity_search_by_vector(embedding, k, **options)

    def max_marginal_relevance_search(self, query, k=4, **options):
        return self.held.max_marginal_relevance_search(query, k, **options)

    def similarity_search_with_score(self, query, k=4, **options):
        return self.held.similarity_search_with_score(query, k, **options)

    def _select_relevance_score_fn(self):
        return float

    def get_by_ids(self, ids, /):
        return self.held.get_by_ids(ids)

    def delete(self, ids=None, **options):
        self.held.delete(ids)

    @classmethod
    def from_texts(cls, texts, embedding, metadatas=None, *, ids=None, **options):
        made = cls(embedding)
        made.add_texts(texts, metadatas, ids=ids)
        return made


class Narrow(Unknown):
    """A store of narrower vectors."""

    def similarity_search_by_vector(self, embedding, k=4, **options):
        raise AssertionError("d == self.d")


class ByText(Unknown):
    """A store that embeds every query itself."""

    similarity_search_by_vector = VectorStore.similarity_search_by_vector


@pytest.fixture
def foreign(guarded, other):
    """Embeddings under the context of other texts."""
    return guarded(other)


@pytest.mark.parametrize("kind", [Unknown, ByText])
def test_an_unknown_store_gets_one_of_the_verdicts(kind, guarded, foreign, documents):
    embeddings = guarded()
    store = kind(embeddings)
    assert check_index(store, embeddings).verdict == "index carries no context"
    store.add_documents(stamped(documents, embeddings))
    assert check_index(store, embeddings).verdict == "same context"
    assert check_index(store, foreign).verdict == "another context"
    store.add_documents([Document("a map without a stamp")])
    assert check_index(store, embeddings).verdict == "index carries no context"
    store.add_documents(stamped([Document("a key")], foreign))
    assert check_index(store, embeddings).theirs == foreign.context_fingerprint


def test_a_store_that_cannot_be_asked_carries_no_context_and_the_reason_is_logged(guarded, caplog):
    embeddings = guarded()
    assert check_index(Narrow(embeddings), embeddings).verdict == "index carries no context"
    assert "Narrow cannot be asked for its context: AssertionError: d == self.d" in caplog.text


async def test_hits_of_another_context_are_refused_whatever_the_search(guarded, foreign, documents):
    embeddings = guarded()
    store = Unknown(embeddings)
    store.add_documents(stamped(documents, foreign))
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    threshold = {"search_type": "similarity_score_threshold", "score_threshold": 0.0}
    for options in ({}, {"search_type": "similarity"}, {"search_type": "mmr"}, threshold):
        with pytest.raises(ContextMismatchError, match="Unknown found a document that was embedded under"):
            retriever.invoke(QUERY, **options)
        with pytest.raises(ContextMismatchError, match="Unknown found a document that was embedded under"):
            await retriever.ainvoke(QUERY, **options)


def test_one_foreign_hit_among_many_is_enough_and_a_search_without_it_is_answered(guarded, foreign, documents):
    embeddings = guarded()
    retriever = ContextualRetriever.from_documents(documents, embeddings=embeddings, vectorstore_class=Unknown)
    odd = retriever.vectorstore.add_documents(stamped([Document("a list of files")], foreign))
    assert len(retriever.invoke(QUERY, k=3)) == 3
    with pytest.raises(ContextMismatchError, match=str(foreign.context_fingerprint)):
        retriever.invoke("a list of files", k=3)
    retriever.vectorstore.delete(odd)
    assert len(retriever.invoke("a list of files", k=3)) == 3


def test_hits_without_a_stamp_are_said_once(guarded, documents, caplog):
    embeddings = guarded()
    store = Unknown.from_documents(documents, embeddings)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=store)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(retriever.invoke(QUERY)) == 4
    assert [record.getMessage()[:44] for record in caplog.records] == [
        "Unknown finds documents that carry no context"[:44]
    ]


def test_nothing_is_said_where_the_store_states_the_context_or_needs_none(guarded, documents, caplog):
    embeddings = guarded()
    chroma = pytest.importorskip("langchain_chroma").Chroma
    collected = chroma.from_documents(
        documents, embeddings, collection_name="said", collection_metadata=collection_metadata(embeddings)
    )
    own = ContextualVectorStore.from_documents(documents, embeddings)
    for store in (collected, own):
        assert len(ContextualRetriever(embeddings=embeddings, vectorstore=store).invoke(QUERY)) == 4
    assert not caplog.records


def test_a_stamp_of_an_earlier_embedding_does_not_stay_on_documents_that_are_embedded_again(
    guarded, foreign, documents, tmp_path
):
    embeddings, old = guarded(), stamped(documents, foreign)
    chroma = pytest.importorskip("langchain_chroma").Chroma
    for kind, options in ((chroma, {"collection_name": "again"}), (Unknown, {}), (InMemoryVectorStore, {})):
        retriever = ContextualRetriever.from_documents(
            old[:20], embeddings=embeddings, vectorstore_class=kind, **options
        )
        retriever.add_documents(old[20:])
        stamps = {found.metadata[CONTEXT_KEY] for found in retriever.invoke(QUERY, k=54)}
        assert stamps == {embeddings.context_fingerprint}
    own = ContextualRetriever.from_documents(old, embeddings=embeddings)
    assert own.invoke(QUERY)[0].metadata[CONTEXT_KEY] == foreign.context_fingerprint  # the user's own metadata


def test_documents_added_to_an_unknown_store_are_stamped_as_those_in_it_are(guarded, foreign, documents):
    embeddings = guarded()
    retriever = ContextualRetriever.from_documents(documents[:9], embeddings=embeddings, vectorstore_class=Unknown)
    retriever.add_documents(documents[9:])
    assert check_index(retriever.vectorstore, embeddings).verdict == "same context"
    plain = Unknown.from_documents(documents[:9], embeddings)
    ContextualRetriever(embeddings=embeddings, vectorstore=plain).add_documents(documents[9:])
    assert all(CONTEXT_KEY not in found.metadata for found in plain.similarity_search(QUERY, k=54))
    theirs = Unknown.from_documents(stamped(documents[:9], foreign), embeddings)
    with pytest.raises(ContextMismatchError, match="built under context"):
        ContextualRetriever(embeddings=embeddings, vectorstore=theirs).add_documents(documents[9:])
    assert len(theirs.held.store) == 9


def test_hybrid_search_checks_its_hits_too(guarded, foreign, documents, tmp_path):
    embeddings = guarded()
    retriever = ContextualHybridRetriever.from_documents(
        documents, embeddings=embeddings, path=tmp_path / "words", vectorstore_class=Unknown
    )
    assert len(retriever.invoke(QUERY)) == 4
    retriever.vectorstore.add_documents(stamped([Document(QUERY)], foreign))
    with pytest.raises(ContextMismatchError, match="Unknown found a document"):
        retriever.invoke(QUERY)
