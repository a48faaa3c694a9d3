"""A context over any LlamaIndex embedding, here one that counts its paid calls."""

import asyncio
import copy
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import ValidationError
from services import PaidService
from tiny import CORPUS, QUERIES

from cde_retrievers import ContextualEncoder
from cde_retrievers.errors import (
    ConfigurationError,
    ContextInUseError,
    ContextMismatchError,
    ContextNotFittedError,
    EmbeddingServiceError,
)
from cde_retrievers.external.identity import PROBE
from cde_retrievers.llama_index import ContextFitter, ContextualEmbedding, ContextualRetriever, WhitenedEmbedding


class PaidEmbedding(BaseEmbedding):
    model_name: str = "paid-1"
    version: str = "a"

    _service: PaidService = PrivateAttr()
    _client: object = PrivateAttr(default=None)

    def model_post_init(self, context, /):
        super().model_post_init(context)
        self._service = PaidService(model=self.version)

    def _get_text_embedding(self, text):
        return self._service.embed_documents([text])[0]

    def _get_text_embeddings(self, texts):
        return self._service.embed_documents(texts)

    def _get_query_embedding(self, query):
        return self._service.embed_query(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


class EncoderEmbedding(PaidEmbedding):
    """Plain vectors of a local bi-encoder."""

    encoder: Any

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts):
        return self.encoder.first_stage_vectors(texts).tolist()

    def _get_query_embedding(self, query):
        return self._get_text_embeddings([query])[0]


def make_nodes():
    return [TextNode(text=text, id_=f"n{i}", metadata={"animal": text.split()[1]}) for i, text in enumerate(CORPUS)]


EMBEDDED = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in make_nodes()]


@pytest.fixture
def base():
    return PaidEmbedding()


@pytest.fixture
def embed_model(base):
    return WhitenedEmbedding(base)


def test_an_index_costs_its_nodes_and_one_probe(base, embed_model):
    VectorStoreIndex(make_nodes(), embed_model=embed_model.fit(make_nodes()))
    assert sorted(base._service.bill) == sorted(EMBEDDED)
    assert len(base._service.paid) == len(EMBEDDED) + 1


def test_looking_at_a_store_in_memory_costs_no_call(base, embed_model):
    ContextFitter(embed_model=embed_model, vector_store=SimpleVectorStore())
    assert base._service.paid == []


def test_build_persist_reload_without_paying_again(base, embed_model, tmp_path):
    index = VectorStoreIndex(make_nodes(), embed_model=embed_model.fit(make_nodes()))
    found = index.as_retriever(similarity_top_k=3).retrieve(CORPUS[7])
    index.storage_context.persist(tmp_path / "index")
    embed_model.save_context(tmp_path / "index" / "context")

    later = PaidEmbedding()
    again = WhitenedEmbedding(later, context_path=tmp_path / "index" / "context")
    storage = StorageContext.from_defaults(persist_dir=str(tmp_path / "index"))
    reloaded = load_index_from_storage(storage, embed_model=again).as_retriever(similarity_top_k=3).retrieve(CORPUS[7])
    assert [hit.node_id for hit in reloaded] == [hit.node_id for hit in found]
    assert later._service.bill == [CORPUS[7]]
    again.get_text_embedding_batch(EMBEDDED)
    assert later._service.bill == [CORPUS[7]]


def test_it_equals_the_contextual_embedding_over_the_same_model(biencoder_folder):
    twin = ContextualEncoder.from_biencoder(biencoder_folder, "whitening", device="cpu", dtype="float32")
    expected = ContextualEmbedding(encoder=twin).fit(make_nodes())
    found = WhitenedEmbedding(EncoderEmbedding(encoder=twin, model_name="tiny")).fit(make_nodes())
    for texts in (EMBEDDED, QUERIES):
        np.testing.assert_allclose(
            found.get_text_embedding_batch(texts), expected.get_text_embedding_batch(texts), atol=1e-5
        )
    np.testing.assert_allclose(found.get_query_embedding("red cat"), expected.get_query_embedding("red cat"), atol=1e-5)


def test_an_index_that_failed_midway_pays_only_for_the_rest(base):
    embed_model = WhitenedEmbedding(base, retries=0, context_size=4, embed_batch_size=10)
    embed_model.fit(make_nodes())
    base._service.failing = iter([False, False, False, True])
    with pytest.raises(EmbeddingServiceError, match="429 too many requests"):
        VectorStoreIndex(make_nodes(), embed_model=embed_model)
    assert 4 < len(base._service.bill) < len(EMBEDDED)
    VectorStoreIndex(make_nodes(), embed_model=embed_model)
    assert sorted(base._service.bill) == sorted(EMBEDDED)


def test_the_options_of_context_and_calls_are_used(base):
    options = {"context_size": 7, "context_strategy": "kmeans", "context_seed": 3, "batch_size": 20, "keep_mib": 0}
    embed_model = WhitenedEmbedding(base, power=0.1, shrinkage=2, retries=1, wait=0, **options)
    base._service.failing = iter([True, False])
    context = embed_model.fit(CORPUS).context
    assert (len(context), context.strategy, context.seed) == (7, "kmeans", 3)
    embed_model.get_text_embedding_batch(CORPUS)
    assert len(base._service.bill) == 2 * len(CORPUS) - 7, "nothing is kept but the context's own"
    with pytest.raises(ContextMismatchError, match="use the settings it was fitted with"):
        WhitenedEmbedding(base)._binding.bind(context)


def test_the_guards_hold(base, embed_model, tmp_path):
    with pytest.raises(ContextNotFittedError, match=r"embed_model\.fit\(nodes\)"):
        embed_model.get_query_embedding("cat")
    VectorStoreIndex(make_nodes(), embed_model=embed_model.fit(make_nodes()))
    with pytest.raises(ContextInUseError, match="refit=True"):
        embed_model.fit(QUERIES)
    embed_model.save_context(tmp_path / "context")
    with pytest.raises(ContextMismatchError, match="but the encoder is 'paid-2'"):
        WhitenedEmbedding(base, base_name="paid-2", context_path=tmp_path / "context")
    with pytest.raises(ContextMismatchError, match="the model named 'paid-1' has changed"):
        WhitenedEmbedding(PaidEmbedding(version="b"), context_path=tmp_path / "context")


def test_a_restored_embedding_needs_its_base_and_accepts_its_own_context_only(base, embed_model, tmp_path):
    embed_model.fit(CORPUS).save_context(tmp_path / "context")
    saved = embed_model.to_dict()
    assert "base" not in saved
    assert saved["class_name"] == "WhitenedEmbedding"
    with pytest.raises(TypeError, match="base"):
        WhitenedEmbedding.from_dict(saved)
    restored = WhitenedEmbedding.from_dict(saved, base=base)
    assert restored.get_text_embedding("cat") == embed_model.get_text_embedding("cat")
    with pytest.raises(ContextMismatchError, match="is expected; load the context that was saved with the index"):
        WhitenedEmbedding.from_dict({**saved, "context_path": None}, base=base).fit(QUERIES)


def test_an_ingestion_cache_notices_another_context(base):
    cache = IngestionCache()

    def run(corpus):
        embed_model = WhitenedEmbedding(base).fit(corpus)
        nodes = IngestionPipeline(transformations=[embed_model], cache=cache).run(nodes=make_nodes())
        return np.array([node.embedding for node in nodes])

    first = run(CORPUS)
    np.testing.assert_array_equal(run(CORPUS), first)
    assert np.abs(run(QUERIES) - first).max() > 1e-3


def test_the_retriever_takes_them(base, embed_model):
    retriever = ContextualRetriever.from_nodes(make_nodes(), embed_model=embed_model, similarity_top_k=3)
    assert len(retriever.retrieve("red cat")) == 3
    assert len(base._service.bill) == len(EMBEDDED) + 1, "the nodes and the query"


async def test_async_does_not_block_the_event_loop(base, embed_model, monkeypatch):
    embed_model.fit(CORPUS)
    expected = embed_model.get_query_embedding("green dog")
    entered, release = threading.Event(), threading.Event()
    embed_query = base._service.embed_query

    def slow(text):
        entered.set()
        assert release.wait(600)
        return embed_query(text)

    monkeypatch.setattr(base._service, "embed_query", slow)
    again = WhitenedEmbedding(base).fit(CORPUS)
    both = asyncio.gather(again.aget_query_embedding("green dog"), again.aget_text_embedding_batch(CORPUS[:2]))
    while not entered.is_set():
        await asyncio.sleep(0.001)
    release.set()  # only reached because the event loop was free while a thread waited
    query, texts = await both
    assert query == expected
    np.testing.assert_allclose(texts, embed_model.get_text_embedding_batch(CORPUS[:2]), atol=1e-6)


def test_pickles_carry_base_and_context(embed_model):
    twin = pickle.loads(pickle.dumps(embed_model.fit(CORPUS)))
    assert twin.context_fingerprint == embed_model.context_fingerprint
    assert twin.get_text_embedding("cat") == embed_model.get_text_embedding("cat")


def test_a_pickle_whose_base_came_back_different_is_refused(base, embed_model, monkeypatch):
    embed_model.fit(CORPUS)
    monkeypatch.setattr(PaidEmbedding, "__setstate__", lambda self, state: self.__init__(version="b"))
    twin = pickle.loads(pickle.dumps(embed_model))  # an error here would keep a process pool waiting for ever
    with pytest.raises(ContextMismatchError, match="has changed"):
        twin.get_query_embedding("red cat")


def test_reading_a_pickle_costs_no_call(base, embed_model):
    def read_twice(one):
        return pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(one))))

    assert read_twice(embed_model).base._service.paid == []
    twin = read_twice(embed_model.fit(CORPUS))
    assert twin.base._service.paid == []
    assert twin.context_fingerprint == embed_model.context_fingerprint
    twin.get_query_embedding("red cat")
    assert twin.base._service.paid == [PROBE, "red cat"]


def test_a_base_that_cannot_be_pickled_says_what_to_do(base, embed_model, monkeypatch):
    monkeypatch.setattr(PaidEmbedding, "__getstate__", lambda self: {"lock": threading.Lock()})
    with pytest.raises(ConfigurationError, match=r"PaidEmbedding cannot be pickled .* context_path=path"):
        pickle.dumps(embed_model.fit(CORPUS))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_refitted_alone(embed_model, copied):
    twin = copied(embed_model.fit(CORPUS))
    twin.fit(QUERIES)
    assert embed_model.context.corpus_size == len(CORPUS)
    assert twin.base is embed_model.base


def test_a_base_without_a_name_must_be_given_one():
    with pytest.raises(ConfigurationError, match=r"PaidEmbedding does not name its model.* give base_name='...'"):
        WhitenedEmbedding(PaidEmbedding(model_name="unknown"))
    assert WhitenedEmbedding(PaidEmbedding(model_name="unknown"), base_name="mine").model_name == "mine"


def test_bad_settings_are_refused(base):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        WhitenedEmbedding(base, device="cpu")
    with pytest.raises(ConfigurationError, match="shrinkage"):
        WhitenedEmbedding(base, shrinkage=0)
