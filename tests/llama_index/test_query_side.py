"""An existing index of plain vectors, searched under contexts that act on queries alone."""

import copy
import pickle

import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore
from remote_store import RemoteStore
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers.errors import ConfigurationError, ContextMismatchError
from cde_retrievers.langchain import ContextualEmbeddings
from cde_retrievers.llama_index import (
    CONTEXT_KEY,
    ContextFitter,
    ContextualEmbedding,
    ContextualRetriever,
    ContextualVectorStore,
    WhitenedEmbedding,
    check_index,
    context_filter,
    docstore_namespace,
    persist_index,
    stamped,
)


class PlainEmbedding(BaseEmbedding):
    """A sentence-transformers-like embedding, without any context."""

    model_name: str = "paid-1"

    _service: PaidService = PrivateAttr(default_factory=lambda: PaidService(width=32))

    def _get_text_embedding(self, text):
        return self._service.embed_documents([text])[0]

    def _get_query_embedding(self, query):
        return self._service.embed_query(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


@pytest.fixture
def base():
    return PlainEmbedding()


@pytest.fixture
def embed_model(base):
    return WhitenedEmbedding(base, side="query").fit(CORPUS)


@pytest.fixture
def over_encoder(loaded):
    return ContextualEmbedding(encoder=loaded, side="query").fit(CORPUS)


@pytest.fixture(params=[SimpleVectorStore, RemoteStore])
def store(request):
    return request.param()


def test_an_index_made_beforehand_is_searched_under_every_context_without_embedding_a_node(base, make_nodes, tmp_path):
    VectorStoreIndex(make_nodes(), embed_model=base).storage_context.persist(tmp_path)
    embed_model = WhitenedEmbedding(base, side="query").fit(CORPUS)
    paid = len(base._service.paid)
    check_index(tmp_path, embed_model).raise_if_different()
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path))
    index = load_index_from_storage(storage, embed_model=base)
    retriever = ContextualRetriever(index, embed_model, similarity_top_k=3)
    first = [hit.node_id for hit in retriever.retrieve("red cat")]
    embed_model.fit(QUERIES)
    retriever.retrieve("red cat")
    embed_model.fit(CORPUS)
    assert [hit.node_id for hit in retriever.retrieve("red cat")] == first
    assert set(base._service.paid[paid:]).isdisjoint(set(CORPUS) - set(QUERIES)), "no node of the index"


def test_both_frameworks_give_the_same_vectors(loaded, over_encoder):
    langchain = ContextualEmbeddings(encoder=loaded, side="query").fit(CORPUS)
    assert langchain.stamp == over_encoder.stamp
    assert langchain.context_fingerprint == over_encoder.context_fingerprint
    assert langchain.embed_query("red cat") == over_encoder.get_query_embedding("red cat")
    assert langchain.embed_documents(CORPUS[:2]) == over_encoder.get_text_embedding_batch(CORPUS[:2])


def test_stores_are_accepted_or_refused_by_what_they_state(store, loaded, embed_model, over_encoder, make_nodes):
    both = ContextualEmbedding(encoder=loaded).fit(CORPUS)
    nodes = make_nodes()
    store.add(over_encoder(nodes[:3]))
    assert check_index(store, over_encoder).verdict == "index carries no context"
    check_index(store, over_encoder).raise_if_different()

    plain = type(store)()
    plain.add(over_encoder(stamped(make_nodes(), over_encoder)))
    over_encoder.fit(QUERIES)
    assert check_index(plain, over_encoder).verdict == "plain vectors"
    assert check_index(plain, embed_model).verdict == "plain vectors of another model"
    for refused, message in ((both, "side='query'"), (embed_model, "another model")):
        with pytest.raises(ContextMismatchError, match=message):
            check_index(plain, refused).raise_if_different()
        with pytest.raises(ContextMismatchError, match=message):
            ContextFitter(embed_model=refused, vector_store=plain)

    contextual = type(store)()
    contextual.add(both(stamped(make_nodes(), both)))
    with pytest.raises(ContextMismatchError, match="need plain vectors"):
        check_index(contextual, over_encoder).raise_if_different()
    with pytest.raises(ContextMismatchError, match="need plain vectors"):
        ContextFitter(embed_model=over_encoder, vector_store=contextual)


def test_a_retriever_over_an_index_of_a_context_is_refused(loaded, over_encoder, make_nodes):
    both = ContextualEmbedding(encoder=loaded).fit(CORPUS)
    with pytest.raises(ContextMismatchError):
        ContextualRetriever(VectorStoreIndex(make_nodes(), embed_model=both), over_encoder)
    index = VectorStoreIndex(stamped(make_nodes(), both), embed_model=both)
    index._embed_model = None
    with pytest.raises(ContextMismatchError, match="need plain vectors"):
        ContextualRetriever(index, over_encoder)


def test_the_stamp_names_the_model_and_no_context(over_encoder, make_nodes):
    stamp = over_encoder.stamp
    assert stamp.startswith("plain-")
    (node,) = stamped(make_nodes()[:1], over_encoder)
    assert node.metadata == {CONTEXT_KEY: stamp}
    namespace = docstore_namespace(over_encoder)
    over_encoder.fit(QUERIES)
    assert (over_encoder.stamp, docstore_namespace(over_encoder)) == (stamp, namespace)
    assert context_filter(over_encoder).filters[0].value == stamp
    over_encoder([node])


def test_an_embedding_without_a_context_may_be_fitted_for_a_store_of_plain_vectors(loaded, over_encoder, make_nodes):
    store = SimpleVectorStore()
    store.add(over_encoder(stamped(make_nodes(), over_encoder)))
    fresh = ContextualEmbedding(encoder=loaded, side="query")
    fitted = ContextFitter(embed_model=fresh, vector_store=store)(make_nodes()[:9])
    assert fresh.is_fitted
    assert fitted[0].metadata == {CONTEXT_KEY: over_encoder.stamp}


def test_a_cache_knows_documents_by_the_model_and_queries_by_the_context(base):
    embed_model = WhitenedEmbedding(base, side="query", embeddings_cache=SimpleKVStore(), keep_mib=0).fit(CORPUS)
    document, query = embed_model.get_text_embedding("a cup"), embed_model.get_query_embedding("a spoon")
    embed_model.fit(QUERIES)
    paid = list(base._service.paid)
    assert embed_model.get_text_embedding("a cup") == document
    assert base._service.paid == paid
    assert embed_model.get_query_embedding("a spoon") != query
    embed_model.get_text_embedding("a spoon")
    assert base._service.paid == [*paid, "a spoon", "a spoon"], "a query's vector is no document's"


def test_what_keeps_a_context_with_documents_is_not_for_plain_ones(over_encoder, make_nodes, tmp_path):
    for build in (
        lambda: ContextualVectorStore(over_encoder, tmp_path / "index"),
        lambda: ContextualRetriever.from_nodes(make_nodes(), embed_model=over_encoder, path=tmp_path / "index"),
        lambda: persist_index(VectorStoreIndex(make_nodes(), embed_model=over_encoder), over_encoder, tmp_path / "s"),
    ):
        with pytest.raises(ConfigurationError, match=r"use side='both' here"):
            build()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cache", [None, SimpleKVStore()], ids=["without", "with a cache"])
def test_pickles_stay_on_their_side(base, model_folder, cache):
    settings = {"side": "query", "embeddings_cache": cache}
    whitened = WhitenedEmbedding(base, **settings).fit(CORPUS)
    loaded = ContextualEmbedding(str(model_folder), device="cpu", dtype="float32", **settings).fit(CORPUS)
    for one in (whitened, loaded):
        twin = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(one))))
        assert (twin.side, twin.documents_are_plain, twin.stamp) == ("query", True, one.stamp)
        assert twin.get_query_embedding("red cat") == one.get_query_embedding("red cat")
        twin.fit(QUERIES)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_and_views_stay_on_their_side(over_encoder, copied):
    context = over_encoder.context
    twin = copied(over_encoder).fit(QUERIES)
    assert over_encoder.context == context
    view = twin.with_context(context)
    assert view.get_query_embedding("red cat") == over_encoder.get_query_embedding("red cat")
    assert view.get_text_embedding("red cat") == twin.get_text_embedding("red cat")


async def test_async_calls_are_the_same(over_encoder):
    assert await over_encoder.aget_query_embedding("red cat") == over_encoder.get_query_embedding("red cat")
    assert await over_encoder.aget_text_embedding("red cat") == over_encoder.get_text_embedding("red cat")


def test_a_dictionary_brings_the_side_back(base, embed_model, tmp_path):
    embed_model.save_context(tmp_path / "context")
    saved = embed_model.to_dict()
    restored = WhitenedEmbedding.from_dict(saved, base=base)
    assert restored.stamp == embed_model.stamp
    assert restored.get_query_embedding("red cat") == embed_model.get_query_embedding("red cat")
