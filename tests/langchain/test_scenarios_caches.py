"""Caches and record managers that do not know contexts: each case without the guard, then with it."""

import asyncio
import sys

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore
from tiny import CORPUS

from cde_retrievers.errors import ConfigurationError, ContextNotFittedError, MissingDependencyError
from cde_retrievers.langchain import (
    ContextualEmbeddings,
    cache_key_encoder,
    cached_embeddings,
    check_index,
    index_key_encoder,
    record_manager_namespace,
    stamped,
    write_context,
)

TEXT = CORPUS[7]


@pytest.fixture
def prompted(make_encoder):
    """An encoder for which a text is another vector as a query."""
    return make_encoder("whitening", query_prompt="how: ", document_prompt="the: ")


@pytest.fixture
def cache_class():
    return pytest.importorskip("langchain_classic.embeddings").CacheBackedEmbeddings


def test_scenario_3_unguarded_a_cache_returns_another_contexts_vectors(cache_class, unguarded, other):
    plain = unguarded()
    cached = cache_class.from_bytes_store(plain, InMemoryByteStore(), namespace="minilm", key_encoder="sha256")
    old = cached.embed_documents([TEXT])
    plain.refit(other)
    assert cached.embed_documents([TEXT]) == old != plain.embed_documents([TEXT])


def test_scenario_3_unguarded_a_cache_of_queries_returns_document_vectors(cache_class, prompted):
    plain = ContextualEmbeddings(encoder=prompted).fit(CORPUS)
    options = {"namespace": "minilm", "key_encoder": "sha256", "query_embedding_cache": True}
    cached = cache_class.from_bytes_store(plain, InMemoryByteStore(), **options)
    document = cached.embed_documents([TEXT])[0]
    assert cached.embed_query(TEXT) == document != plain.embed_query(TEXT)


def test_scenario_3_a_cache_tells_contexts_and_roles_apart(cache_class, prompted, other):
    embeddings, store = ContextualEmbeddings(encoder=prompted).fit(CORPUS), InMemoryByteStore()
    cached = cached_embeddings(embeddings, store, store)
    assert isinstance(cached, cache_class)

    def both(embed):
        return [*embed.embed_documents([TEXT, *CORPUS[:3]]), embed.embed_query(TEXT)]

    old = both(cached)
    assert old[0] != old[-1]
    context = embeddings.context
    embeddings.fit(other, refit=True)
    np.testing.assert_allclose(both(cached), both(embeddings), atol=1e-6)
    assert np.abs(np.subtract(both(cached), old)).max() > 0.1
    embeddings._binding.bind(context, refit=True)
    assert both(cached) == old
    assert len(list(store.yield_keys())) == 2 * (4 + 1)


async def test_scenario_3_async_shares_the_cache(cache_class, prompted):
    embeddings = ContextualEmbeddings(encoder=prompted).fit(CORPUS)
    cached = cached_embeddings(embeddings, InMemoryByteStore(), InMemoryByteStore(), batch_size=2)
    vectors = await asyncio.gather(cached.aembed_documents(CORPUS[:5]), cached.aembed_query(TEXT))
    assert [cached.embed_documents(CORPUS[:5]), cached.embed_query(TEXT)] == vectors


def test_cached_vectors_are_not_computed_again(cache_class, guarded, monkeypatch):
    embeddings = guarded()
    cached = cached_embeddings(embeddings, InMemoryByteStore())
    vectors = cached.embed_documents(CORPUS[:5])
    monkeypatch.setattr(type(embeddings), "embed_documents", lambda self, texts: pytest.fail("computed again"))
    assert cached.embed_documents(CORPUS[:5]) == vectors


def test_a_cache_on_disk_takes_the_keys_for_file_names(cache_class, guarded, tmp_path):
    storage = pytest.importorskip("langchain_classic.storage")
    embeddings, store = guarded(), storage.LocalFileStore(tmp_path)
    cached = cached_embeddings(embeddings, store, store)
    assert cached.embed_query(TEXT) == cached.embed_query(TEXT)
    assert cached.embed_documents([TEXT, "ünïcode/../x"]) == cached.embed_documents([TEXT, "ünïcode/../x"])
    assert len(list(tmp_path.iterdir())) == 3


def test_bad_caches_are_refused(encoder, guarded, unguarded, monkeypatch):
    unfitted = ContextualEmbeddings(encoder=encoder)
    with pytest.raises(ContextNotFittedError):
        cache_key_encoder(unfitted, "document")(TEXT)
    with pytest.raises(ConfigurationError, match="role must be 'document' or 'query', found 'passage'"):
        cache_key_encoder(unfitted, "passage")
    with pytest.raises(ConfigurationError, match="embeddings must be a ContextBoundMixin, found"):
        cache_key_encoder(unguarded(), "document")
    with pytest.raises(ConfigurationError, match="must be bound to a context, found UnguardedEmbeddings"):
        cached_embeddings(unguarded(), InMemoryByteStore())
    monkeypatch.setitem(sys.modules, "langchain_classic.embeddings", None)
    with pytest.raises(MissingDependencyError, match="pip install langchain-classic"):
        cached_embeddings(guarded(), InMemoryByteStore())


@pytest.fixture(params=["memory", "sql"])
def record_manager(request):
    def make(namespace):
        if request.param == "memory":
            manager = InMemoryRecordManager(namespace)
        else:
            indexes = pytest.importorskip("langchain_classic.indexes")
            sqlalchemy = pytest.importorskip("sqlalchemy")
            engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
            request.addfinalizer(engine.dispose)
            manager = indexes.SQLRecordManager(namespace, engine=engine)
        manager.create_schema()
        return manager

    return make


def test_scenario_4_unguarded_index_skips_every_document_after_a_refit(
    record_manager, unguarded, documents, other, hit_rate
):
    plain, manager = unguarded(), record_manager("shop")
    store = InMemoryVectorStore(plain)
    index(documents, manager, store, cleanup="full", key_encoder="sha256")
    assert hit_rate(store) == 1
    plain.refit(other)
    result = index(documents, manager, store, cleanup="full", key_encoder="sha256")
    assert (result["num_added"], result["num_skipped"]) == (0, 54)
    assert hit_rate(store) < 0.3


def test_scenario_4_index_embeds_every_document_again_after_a_refit(
    new_store, record_manager, guarded, documents, other, hit_rate
):
    embeddings, manager = guarded(), record_manager("shop")
    store, keys = new_store(embeddings), index_key_encoder(embeddings)
    index(documents, manager, store, cleanup="full", key_encoder=keys)
    again = index(documents, manager, store, cleanup="full", key_encoder=keys)
    assert (again["num_added"], again["num_skipped"]) == (0, 54)
    embeddings.fit(other, refit=True)
    result = index(documents, manager, store, cleanup="full", key_encoder=keys)
    assert (result["num_added"], result["num_deleted"], result["num_skipped"]) == (54, 54, 0)
    assert hit_rate(store) == 1
    write_context(store, embeddings, replace=True)
    assert check_index(store, embeddings).verdict == "same context"


def test_scenario_4_a_namespace_of_its_own_starts_a_new_collection(record_manager, guarded, documents, other, hit_rate):
    embeddings = guarded()
    for texts in (CORPUS, other):
        embeddings.fit(texts, refit=True)
        manager, store = record_manager(record_manager_namespace(embeddings, "shop")), InMemoryVectorStore(embeddings)
        assert manager.namespace == f"shop/{embeddings.context_fingerprint}"
        result = index(stamped(documents, embeddings), manager, store, key_encoder="sha256")
        assert result["num_added"] == 54
        assert hit_rate(store) == 1


def test_the_key_of_a_document_depends_on_context_text_and_metadata(guarded, other):
    key, foreign = index_key_encoder(guarded()), index_key_encoder(guarded(other))
    document = Document("a", metadata={"x": 1, "y": [2]})
    assert key(document) == key(Document("a", metadata={"y": [2], "x": 1}, id="7"))
    others = [Document("b", metadata=document.metadata), Document("a"), Document("a", metadata={"x": "1", "y": [2]})]
    assert len({key(document), foreign(document), *map(key, others)}) == 5


def test_metadata_that_cannot_be_hashed_are_refused(guarded, encoder):
    with pytest.raises(ConfigurationError, match=r"document that starts with 'red' cannot be hashed \(.*object"):
        index_key_encoder(guarded())(Document("red", metadata={"when": object()}))
    unfitted = ContextualEmbeddings(encoder=encoder)
    for make in (index_key_encoder(unfitted), lambda document: record_manager_namespace(unfitted, "shop")):
        with pytest.raises(ContextNotFittedError):
            make(Document("red"))
