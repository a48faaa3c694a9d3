"""PGVector's collections and their metadata, in a real PostgreSQL with pgvector."""

from types import SimpleNamespace

import pytest
from langchain_core.documents import Document
from servers import OVER_SERVERS

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import (
    CONTEXT_KEY,
    ContextualRetriever,
    check_index,
    collection_metadata,
    context_filter,
    index_key_encoder,
    read_context,
    stamped,
    write_context,
)
from cde_retrievers.langchain.stores.registry import kind_of

pytestmark = OVER_SERVERS


@pytest.fixture
def engine(postgres):
    """Connections to the server."""
    made = pytest.importorskip("sqlalchemy").create_engine(postgres.address())
    yield made
    made.dispose()


@pytest.fixture
def pgvector(engine):
    """Opens a collection with some embeddings."""
    langchain_postgres = pytest.importorskip("langchain_postgres")

    def opened(embeddings, name, **options):
        return langchain_postgres.PGVector(embeddings, connection=engine, collection_name=name, **options)

    return opened


def test_unguarded_a_collection_reloaded_with_another_context_finds_the_wrong_documents(
    pgvector, unguarded, documents, other, hit_rate
):
    store = pgvector(unguarded(), "unguarded")
    store.add_documents(documents)
    assert hit_rate(store) == 1
    assert hit_rate(pgvector(unguarded(other), "unguarded")) < 0.3


def test_a_collection_says_its_context_and_keeps_its_metadata(pgvector, guarded, documents, other, hit_rate):
    embeddings, foreign = guarded(), guarded(other)
    store = pgvector(embeddings, "kept", collection_metadata={"mine": 1})
    assert read_context(store) is None
    write_context(store, embeddings)
    store.add_documents(stamped(documents, embeddings))
    again = pgvector(foreign, "kept", collection_metadata={CONTEXT_KEY: "something else"})
    with again._make_sync_session() as session:
        assert again.get_collection(session).cmetadata == {"mine": 1, CONTEXT_KEY: embeddings.context_fingerprint}
    assert check_index(again, embeddings).verdict == "same context"
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever(embeddings=foreign, vectorstore=again)
    assert hit_rate(again, filter=context_filter(foreign, again)) == 0
    assert hit_rate(store, filter=context_filter(embeddings, store)) == 1
    wanted = context_filter(embeddings, store, also={"row": {"$gt": 50}})
    assert {hit.metadata["row"] for hit in store.similarity_search("red cat", k=9, filter=wanted)} == {51, 52, 53}


def test_a_new_collection_is_created_with_its_context(pgvector, guarded):
    embeddings = guarded()
    store = pgvector(embeddings, "new", collection_metadata=collection_metadata(embeddings))
    assert check_index(store, embeddings).verdict == "same context"


def test_from_documents_refuses_a_collection_of_another_context(pgvector, engine, guarded, documents, other):
    embeddings = guarded()
    kind = type(pgvector(embeddings, "ours"))
    options = {"vectorstore_class": kind, "connection": engine}
    retriever = ContextualRetriever.from_documents(documents, embeddings=embeddings, collection_name="ours", **options)
    assert retriever.invoke(documents[7].page_content, k=1)[0].metadata == {"row": 7}
    with pytest.raises(ContextMismatchError, match="index was built under context"):
        ContextualRetriever.from_documents(documents, embeddings=guarded(other), collection_name="ours", **options)
    pgvector(embeddings, "silent").add_documents(documents[:3])
    with pytest.raises(ContextMismatchError, match="PGVector store already holds 3 documents and does not record"):
        ContextualRetriever.from_documents(documents, embeddings=embeddings, collection_name="silent", **options)


def test_keys_that_name_the_context_keep_two_collections_apart(pgvector, guarded, other):
    # PGVector's ids are unique in the whole database, so equal keys would move a document from one to the other.
    document, stores = Document("red cat"), []
    for embeddings in (guarded(), guarded(other)):
        store = pgvector(embeddings, embeddings.context_fingerprint)
        store.add_documents([document], ids=[index_key_encoder(embeddings)(document)])
        stores.append(store)
    assert [len(store.similarity_search("red cat")) for store in stores] == [1, 1]


def test_a_deleted_collection_is_named(pgvector, guarded):
    store = pgvector(guarded(), "gone")
    store.delete_collection()
    with pytest.raises(ConfigurationError, match="there is no collection 'gone' in this database"):
        read_context(store)


def test_a_store_in_async_mode_cannot_be_asked_and_says_so(postgres, guarded, caplog):
    embeddings = guarded()
    store = pytest.importorskip("langchain_postgres").PGVector(
        embeddings, connection=postgres.address(), async_mode=True, create_extension=False
    )
    with pytest.raises(ConfigurationError, match="opened with async_mode=True; open it again without that"):
        read_context(store)
    assert check_index(store, embeddings).verdict == "index carries no context"
    assert "opened with async_mode=True" in caplog.text
    assert context_filter(embeddings, store) == {CONTEXT_KEY: embeddings.context_fingerprint}
    assert ContextualRetriever(embeddings=embeddings, vectorstore=store).k == 4


@pytest.mark.parametrize(("strategy", "score"), [("cosine", 0.75), ("l2", 0.5**0.5), ("inner", -0.25)])
def test_scores_of_every_distance_become_the_cosine(strategy, score):
    langchain_postgres = pytest.importorskip("langchain_postgres.vectorstores")
    store = SimpleNamespace(_distance_strategy=langchain_postgres.DistanceStrategy(strategy))
    expected = {"cosine": 0.25, "l2": 0.75, "inner": 0.25}[strategy]
    assert kind_of("pgvector").cosine(store)(score) == pytest.approx(expected)


def test_relevance_scores_are_those_of_every_store(pgvector, engine, guarded, documents):
    postgres = pytest.importorskip("langchain_postgres")
    embeddings = guarded()
    options = {"connection": engine, "collection_name": "relevance"}
    store = ContextualRetriever.from_documents(
        documents, embeddings=embeddings, vectorstore_class=postgres.PGVector, **options
    ).vectorstore
    (found, score), *_, (_, worst) = store.similarity_search_with_relevance_scores(documents[0].page_content, k=54)
    assert (found.page_content, score) == (documents[0].page_content, pytest.approx(1))
    assert 0 <= worst < 0.5
