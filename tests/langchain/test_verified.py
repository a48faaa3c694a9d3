"""A plain store whose every search checks the stamps of its hits."""

import logging
from uuid import uuid4

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from cde_retrievers.errors import ContextMismatchError, ContextNotFittedError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    ContextualVectorStore,
    collection_metadata,
    stamped,
    verified,
    with_cosine_relevance,
)

QUERY = "green cat sleeps in the tree"
REFUSED = "found a document that was embedded under"
BY_TEXT = ["similarity_search", "similarity_search_with_score", "max_marginal_relevance_search"]
BY_VECTOR = ["similarity_search_by_vector", "max_marginal_relevance_search_by_vector"]
SEARCH_TYPES = ["similarity", "mmr", "similarity_score_threshold"]


@pytest.fixture
def foreign(guarded, other):
    """Embeddings under the context of other texts."""
    return guarded(other)


@pytest.fixture
def mixed(guarded, foreign, documents):
    """A verified store to which a document of another context was added afterwards, with the embeddings."""
    embeddings = guarded()
    store = InMemoryVectorStore.from_documents(stamped(documents, embeddings), embeddings)
    verified(with_cosine_relevance(store), embeddings)
    store.add_documents(stamped([Document(QUERY)], foreign))
    return store, embeddings


@pytest.mark.parametrize("name", [*BY_TEXT, "similarity_search_with_relevance_scores"])
async def test_every_search_by_a_text_refuses_a_hit_of_another_context(mixed, name):
    store, _ = mixed
    with pytest.raises(ContextMismatchError, match=REFUSED):
        getattr(store, name)(QUERY)
    with pytest.raises(ContextMismatchError, match=REFUSED):
        await getattr(store, f"a{name}")(QUERY)


@pytest.mark.parametrize("name", [*BY_VECTOR, "similarity_search_with_score_by_vector"])
def test_every_search_by_a_vector_refuses_it(mixed, name):
    store, embeddings = mixed
    with pytest.raises(ContextMismatchError, match=REFUSED):
        getattr(store, name)(embeddings.embed_query(QUERY))


@pytest.mark.parametrize("search_type", SEARCH_TYPES)
async def test_its_retrievers_refuse_it(mixed, search_type):
    store, _ = mixed
    retriever = store.as_retriever(search_type=search_type, search_kwargs={"score_threshold": 0.0})
    for search in (store.search, lambda query, kind: retriever.invoke(query)):
        with pytest.raises(ContextMismatchError, match=REFUSED):
            search(QUERY, search_type)
    with pytest.raises(ContextMismatchError, match=REFUSED):
        await retriever.ainvoke(QUERY)


async def test_it_answers_as_the_store_does(guarded, documents):
    embeddings = guarded()
    kept = stamped(documents, embeddings)
    plain = with_cosine_relevance(InMemoryVectorStore.from_documents(kept, embeddings))
    store = verified(with_cosine_relevance(InMemoryVectorStore.from_documents(kept, embeddings)), embeddings)
    assert type(store) is InMemoryVectorStore
    for name in [*BY_TEXT, "similarity_search_with_relevance_scores"]:
        expected = getattr(plain, name)(QUERY, k=3)
        assert len(expected) == 3
        assert _contents(getattr(store, name)(QUERY, k=3)) == _contents(expected)
        assert _contents(await getattr(store, f"a{name}")(QUERY, k=3)) == _contents(expected)


def _contents(hits):
    return [(hit[0].page_content, hit[1]) if isinstance(hit, tuple) else hit.page_content for hit in hits]


def test_a_store_of_another_context_is_refused_before_any_search(guarded, foreign, documents):
    embeddings = guarded()
    with pytest.raises(ContextMismatchError, match="embeds under context"):
        verified(InMemoryVectorStore(foreign), embeddings)
    store = InMemoryVectorStore.from_documents(stamped(documents, foreign), embeddings)
    with pytest.raises(ContextMismatchError, match="was built under context"):
        verified(store, embeddings)
    assert len(store.similarity_search(QUERY)) == 4, "an unverified store is left as it was"


def test_hits_without_a_stamp_are_said_once(guarded, documents, caplog):
    embeddings = guarded()
    store = verified(InMemoryVectorStore.from_documents(documents, embeddings), embeddings)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert len(store.similarity_search_with_score(QUERY)) == 4
    assert [record.getMessage()[:53] for record in caplog.records] == [
        "InMemoryVectorStore finds documents that carry no con"
    ]


def test_a_search_after_a_refit_is_refused_until_everything_is_embedded_again(guarded, documents):
    embeddings = guarded()
    store = verified(InMemoryVectorStore.from_documents(stamped(documents, embeddings), embeddings), embeddings)
    assert len(store.similarity_search(QUERY)) == 4
    embeddings.fit(documents[:20], refit=True)
    with pytest.raises(ContextMismatchError):
        store.similarity_search(QUERY)
    store.delete(list(store.store))
    store.add_documents(stamped(documents, embeddings))
    verified(store, embeddings)
    assert len(store.similarity_search(QUERY)) == 4


def test_methods_that_chroma_alone_has_are_checked_too(guarded, foreign, documents):
    chroma = pytest.importorskip("langchain_chroma").Chroma
    embeddings = guarded()
    store = chroma.from_documents(
        documents,
        embeddings,
        collection_name=f"verified-{uuid4().hex}",
        collection_metadata=collection_metadata(embeddings),
    )
    verified(store, embeddings)
    assert len(store.similarity_search_with_vectors(QUERY)) == 4, "the collection states the context"
    store.add_documents(stamped([Document(QUERY)], foreign))
    with pytest.raises(ContextMismatchError, match=REFUSED):
        store.similarity_search_with_vectors(QUERY)
    with pytest.raises(ContextMismatchError, match=REFUSED):
        store.similarity_search_by_vector_with_relevance_scores(embeddings.embed_query(QUERY))


def test_the_librarys_own_store_vouches_for_its_documents(guarded, foreign, documents):
    embeddings = guarded()
    store = ContextualVectorStore.from_documents(stamped(documents, foreign), embeddings)
    assert verified(store, embeddings) is store
    assert len(store.similarity_search(QUERY)) == 4
    with pytest.raises(ContextMismatchError):
        verified(store, foreign)


def test_embeddings_without_a_context_are_refused(encoder, guarded):
    with pytest.raises(ContextNotFittedError):
        verified(InMemoryVectorStore(guarded()), ContextualEmbeddings(encoder=encoder))


class Odd(InMemoryVectorStore):
    """A store with names that are no methods which search."""

    search_kind = "memory"

    @property
    def research(self):
        raise AttributeError("not now")

    @staticmethod
    def connect_to_search(url):
        return url

    @classmethod
    def search_everywhere(cls):
        return cls


def test_what_is_no_method_stays_as_it_is(guarded, documents):
    embeddings = guarded()
    store = verified(Odd.from_documents(stamped(documents, embeddings), embeddings), embeddings)
    assert (store.search_kind, store.connect_to_search("url"), store.search_everywhere()) == ("memory", "url", Odd)
    assert store.similarity_search(QUERY)
