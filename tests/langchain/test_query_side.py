"""An existing store of plain vectors, searched under contexts that act on queries alone."""

import asyncio
import copy
import pickle

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers.encoder.query_side import QuerySideEmbedder
from cde_retrievers.errors import ConfigurationError, ContextInUseError, ContextMismatchError, ContextNotFittedError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualEmbeddings,
    ContextualRetriever,
    ContextualVectorStore,
    WhitenedEmbeddings,
    cache_key_encoder,
    cached_embeddings,
    check_index,
    collection_metadata,
    context_filter,
    index_key_encoder,
    read_context,
    record_manager_namespace,
    stamped,
    write_context,
)


class PlainEmbeddings(PaidService, Embeddings):
    """A sentence-transformers-like embedding, without any context."""

    model_name = "paid-1"

    def __init__(self):
        super().__init__(width=32)

    def _vector(self, text, prompt):
        vector = np.array(super()._vector(text, prompt))
        return (vector / np.linalg.norm(vector)).tolist()


@pytest.fixture
def base():
    return PlainEmbeddings()


@pytest.fixture
def embeddings(base):
    return WhitenedEmbeddings(base=base, side="query").fit(CORPUS)


@pytest.fixture
def over_encoder(encoder):
    return ContextualEmbeddings(encoder=encoder, side="query").fit(CORPUS)


def texts_of(found):
    return [document.page_content for document in found]


def test_an_index_made_beforehand_is_searched_under_every_context_without_embedding_a_document(
    base, documents, new_store
):
    store = new_store(base)
    store.add_documents(documents)
    embeddings = WhitenedEmbeddings(base=base, side="query", context_size=8).fit(CORPUS)
    before = len(base.paid)
    retriever = ContextualRetriever(embeddings=embeddings, vectorstore=new_store.over(store, embeddings), k=3)
    nearest = texts_of(retriever.invoke("red cat"))
    for other in (QUERIES, CORPUS):
        embeddings.fit(other)
        plain = np.array([base._vector(text, "") for text in CORPUS])
        best = np.argsort(-plain @ embeddings.embed_query("red cat"))[:3]
        assert texts_of(retriever.invoke("red cat")) == [CORPUS[row] for row in best]
    assert texts_of(retriever.invoke("red cat")) == nearest
    assert set(base.paid[before:]).isdisjoint(set(CORPUS) - set(QUERIES)), "no document of the index"


def test_a_refit_needs_no_leave_and_leaves_documents_alone(over_encoder):
    vectors, query = over_encoder.embed_documents(CORPUS[:3]), over_encoder.embed_query("red cat")
    over_encoder.fit(QUERIES)
    assert over_encoder.embed_documents(CORPUS[:3]) == vectors
    assert over_encoder.embed_query("red cat") != query


def test_both_sides_is_the_default_and_as_before(guarded, encoder):
    default, both = guarded(), ContextualEmbeddings(encoder=encoder, side="both").fit(CORPUS)
    assert default.side == "both"
    assert default == both
    assert default.stamp == default.context_fingerprint
    default.embed_documents(CORPUS)
    with pytest.raises(ContextInUseError):
        default.fit(QUERIES)


def test_the_stamp_names_the_model_and_no_context(over_encoder, encoder):
    stamp = over_encoder.stamp
    assert stamp == f"plain-{QuerySideEmbedder(encoder).plain_fingerprint}"
    assert collection_metadata(over_encoder) == {CONTEXT_KEY: stamp}
    assert stamped([Document("a")], over_encoder)[0].metadata == {CONTEXT_KEY: stamp}
    over_encoder.fit(QUERIES)
    assert over_encoder.stamp == stamp
    assert ContextualEmbeddings(encoder=encoder, side="query").stamp == stamp, "before the fit, too"


def test_embedding_needs_a_fit_all_the_same(encoder):
    with pytest.raises(ContextNotFittedError):
        ContextualEmbeddings(encoder=encoder, side="query").embed_query("red cat")


def test_a_store_that_states_nothing_or_plain_vectors_is_accepted(new_store, over_encoder, documents):
    store = new_store(over_encoder)
    store.add_documents(documents)
    check = check_index(store, over_encoder)
    assert check.verdict == "index carries no context"
    check.raise_if_different()
    write_context(store, over_encoder)
    assert read_context(store) == over_encoder.stamp
    over_encoder.fit(QUERIES)
    check = check_index(store, over_encoder)
    assert str(check) == "plain vectors"
    check.raise_if_different()
    ContextualRetriever(embeddings=over_encoder, vectorstore=store).add_documents([Document("a new dog eats")])


def test_a_store_of_a_context_is_refused(new_store, guarded, over_encoder, documents):
    both = guarded()
    store = new_store(both)
    store.add_documents(documents)
    write_context(store, both)
    opened = new_store.over(store, over_encoder)
    assert check_index(opened, over_encoder).verdict == "another context"
    for refused in (
        lambda: check_index(opened, over_encoder).raise_if_different(),
        lambda: ContextualRetriever(embeddings=over_encoder, vectorstore=opened),
    ):
        with pytest.raises(ContextMismatchError, match=r"queries of side='query' need plain vectors.*side='both'"):
            refused()
    with pytest.raises(ContextMismatchError):
        write_context(opened, over_encoder)


def test_plain_vectors_are_refused_where_the_context_acts_on_documents_too(new_store, guarded, over_encoder, documents):
    store = new_store(over_encoder)
    store.add_documents(documents)
    write_context(store, over_encoder)
    both = guarded()
    opened = new_store.over(store, both)
    assert str(check_index(opened, both)) == f"plain vectors ({over_encoder.stamp}, yours is {both.stamp})"
    with pytest.raises(ContextMismatchError, match=r"holds plain vectors.*side='query'"):
        ContextualRetriever(embeddings=both, vectorstore=opened)


def test_plain_vectors_of_another_model_are_refused(new_store, embeddings, over_encoder, documents):
    store = new_store(over_encoder)
    store.add_documents(documents)
    write_context(store, over_encoder)
    opened = new_store.over(store, embeddings)
    assert check_index(opened, embeddings).verdict == "plain vectors of another model"
    with pytest.raises(ContextMismatchError, match="plain vectors of another model"):
        ContextualRetriever(embeddings=embeddings, vectorstore=opened)


def test_a_store_that_embeds_queries_without_the_context_is_refused(base, embeddings, documents):
    store = InMemoryVectorStore.from_documents(documents, base)
    with pytest.raises(ConfigurationError, match=r"embeds queries by its own PlainEmbeddings, without the context"):
        ContextualRetriever(embeddings=embeddings, vectorstore=store)


def test_a_retriever_is_built_and_outlives_a_refit(encoder, documents):
    embeddings = ContextualEmbeddings(encoder=encoder, side="query")
    retriever = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=InMemoryVectorStore, k=1
    )
    assert check_index(retriever.vectorstore, embeddings).verdict == "plain vectors"
    embeddings.fit(QUERIES)
    assert texts_of(retriever.invoke(CORPUS[5])) == [CORPUS[5]]
    retriever.add_documents([Document("a new dog eats")])
    assert check_index(retriever.vectorstore, embeddings).verdict == "plain vectors"
    assert retriever.metadata["context_fingerprint"] == embeddings.stamp


def test_documents_are_added_to_a_collection_that_states_nothing(over_encoder, documents, tmp_path):
    chroma = pytest.importorskip("langchain_chroma").Chroma
    chroma("shop", over_encoder, str(tmp_path)).add_documents(documents[:5])
    options = {"vectorstore_class": chroma, "collection_name": "shop", "persist_directory": str(tmp_path)}
    retriever = ContextualRetriever.from_documents(documents[5:], embeddings=over_encoder, **options)
    assert retriever.vectorstore._collection.count() == 54
    assert read_context(retriever.vectorstore) is None, "those before are not vouched for"


def test_a_filter_finds_plain_documents_of_the_model(over_encoder, documents):
    store = InMemoryVectorStore.from_documents(stamped(documents, over_encoder), over_encoder)
    over_encoder.fit(QUERIES)
    found = store.similarity_search(CORPUS[5], k=1, filter=context_filter(over_encoder, store))
    assert texts_of(found) == [CORPUS[5]]


def test_the_store_that_keeps_a_context_is_not_for_plain_documents(over_encoder, documents, tmp_path):
    for build in (
        lambda: ContextualVectorStore(over_encoder, tmp_path / "index"),
        lambda: ContextualVectorStore.from_documents(documents, over_encoder, path=tmp_path / "index"),
        lambda: ContextualRetriever.from_documents(documents, embeddings=over_encoder),
    ):
        with pytest.raises(ConfigurationError, match=r"ContextualVectorStore keeps .*use side='both' here"):
            build()
    assert not (tmp_path / "index").exists()


def test_caches_know_documents_by_the_model_and_queries_by_the_context(over_encoder):
    def keys():
        return [cache_key_encoder(over_encoder, role)("red cat") for role in ("document", "query")]

    document, query = keys()
    ids = index_key_encoder(over_encoder)(Document("a")), record_manager_namespace(over_encoder, "shop")
    over_encoder.fit(QUERIES)
    assert keys()[0] == document
    assert keys()[1] != query
    assert ids == (index_key_encoder(over_encoder)(Document("a")), record_manager_namespace(over_encoder, "shop"))


def test_cached_documents_are_found_after_a_refit(base, embeddings):
    pytest.importorskip("langchain_classic.embeddings")
    cached = cached_embeddings(embeddings, InMemoryByteStore(), InMemoryByteStore())
    documents, query = cached.embed_documents(["a cup"]), cached.embed_query("red cat")
    embeddings.fit(QUERIES)
    paid = len(base.paid)
    assert cached.embed_documents(["a cup"]) == documents
    assert len(base.paid) == paid
    assert cached.embed_query("red cat") != query


def test_a_saved_context_is_loaded_for_the_same_side_only(base, embeddings, tmp_path):
    embeddings.save_context(tmp_path / "context")
    again = WhitenedEmbeddings(base=base, side="query", context_path=tmp_path / "context")
    assert again == embeddings
    assert again.embed_query("red cat") == embeddings.embed_query("red cat")
    with pytest.raises(ContextMismatchError):
        WhitenedEmbeddings(base=base, context_path=tmp_path / "context")


def test_sides_are_told_apart(base, embeddings, guarded, over_encoder):
    assert WhitenedEmbeddings(base=base).fit(CORPUS) != embeddings
    assert guarded() != over_encoder


def test_pickles_stay_on_their_side(embeddings, model_folder):
    loaded = ContextualEmbeddings(model=model_folder, side="query", device="cpu", dtype="float32").fit(CORPUS)
    for one in (embeddings, loaded):
        twin = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(one))))
        assert (twin.side, twin.documents_are_plain, twin.stamp) == ("query", True, one.stamp)
        assert twin == one
        assert twin.embed_query("red cat") == one.embed_query("red cat")
        assert twin.embed_documents(["red cat"]) == one.embed_documents(["red cat"])
        twin.fit(QUERIES)


def test_reading_a_pickle_costs_no_call(base):
    twin = pickle.loads(pickle.dumps(WhitenedEmbeddings(base=base, side="query")))
    assert twin.base.paid == base.paid == []
    assert twin.stamp.startswith("plain-")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_and_views_stay_on_their_side(over_encoder, copied):
    context = over_encoder.context
    twin = copied(over_encoder).fit(QUERIES)
    assert over_encoder.context == context
    view = twin.with_context(context)
    assert view.embed_query("red cat") == over_encoder.embed_query("red cat") != twin.embed_query("red cat")
    assert view.embed_documents(CORPUS[:2]) == twin.embed_documents(CORPUS[:2])


def test_async_calls_are_the_same(over_encoder):
    async def both():
        return await over_encoder.aembed_query("red cat"), await over_encoder.aembed_documents(CORPUS[:2])

    assert asyncio.run(both()) == (over_encoder.embed_query("red cat"), over_encoder.embed_documents(CORPUS[:2]))


def test_a_shared_embedder_brings_its_side(over_encoder, encoder):
    shared = ContextualEmbeddings(encoder=over_encoder.embedder)
    assert (shared.side, shared.stamp) == ("query", over_encoder.stamp)
    assert ContextualEmbeddings(encoder=over_encoder.embedder, side="query").embedder is over_encoder.embedder


def test_bad_sides_are_refused(encoder, make_encoder):
    with pytest.raises(ValidationError, match="'both' or 'query'"):
        ContextualEmbeddings(encoder=encoder, side="documents")
    with pytest.raises(ConfigurationError, match=r"side='query' needs a model whose contexts act by the closed form"):
        ContextualEmbeddings(encoder=make_encoder("cached"), side="query")
